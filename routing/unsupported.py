"""The HTTP routes of operations that vLLM does not serve.

They are Bifrost's; those that OpenAI has too have OpenAI's methods and paths
(https://platform.openai.com/docs/api-reference). A client of theirs is told
what is not supported instead of that there is no such route.
"""

from typing import Final, NamedTuple


class Route(NamedTuple):
    """One route: its path below ``/v1``, and the type of request that it stands for.

    ``streamed`` is the type of those that ask for a stream.
    """

    method: str
    path: str
    request_type: str
    streamed: str | None = None


ROUTES: Final = (
    Route("POST", "audio/speech", "speech", "speech_stream"),
    Route("POST", "images/generations", "image_generation", "image_generation_stream"),
    Route("POST", "images/edits", "image_edit", "image_edit_stream"),
    Route("POST", "images/variations", "image_variation"),
    Route("POST", "ocr", "ocr"),
    Route("POST", "videos", "video_generation"),
    Route("GET", "videos", "video_list"),
    Route("POST", "videos/edits", "video_edit"),
    Route("GET", "videos/{id}", "video_retrieve"),
    Route("DELETE", "videos/{id}", "video_delete"),
    Route("GET", "videos/{id}/content", "video_download"),
    Route("POST", "videos/{id}/remix", "video_remix"),
    Route("POST", "files", "file_upload"),
    Route("GET", "files", "file_list"),
    Route("GET", "files/{id}", "file_retrieve"),
    Route("DELETE", "files/{id}", "file_delete"),
    Route("GET", "files/{id}/content", "file_content"),
    Route("POST", "batches", "batch_create"),
    Route("GET", "batches", "batch_list"),
    Route("GET", "batches/{id}", "batch_retrieve"),
    Route("DELETE", "batches/{id}", "batch_delete"),
    Route("POST", "batches/{id}/cancel", "batch_cancel"),
    Route("GET", "batches/{id}/results", "batch_results"),
    Route("POST", "containers", "container_create"),
    Route("GET", "containers", "container_list"),
    Route("GET", "containers/{id}", "container_retrieve"),
    Route("DELETE", "containers/{id}", "container_delete"),
    Route("POST", "containers/{id}/files", "container_file_create"),
    Route("GET", "containers/{id}/files", "container_file_list"),
    Route("GET", "containers/{id}/files/{file}", "container_file_retrieve"),
    Route("DELETE", "containers/{id}/files/{file}", "container_file_delete"),
    Route("GET", "containers/{id}/files/{file}/content", "container_file_content"),
    Route("POST", "responses/input_tokens", "count_tokens"),
    Route("POST", "responses/compact", "compaction"),
    Route("GET", "responses/{id}", "responses_retrieve"),
    Route("DELETE", "responses/{id}", "responses_delete"),
    Route("POST", "responses/{id}/cancel", "responses_cancel"),
    Route("GET", "responses/{id}/input_items", "responses_input_items"),
)
