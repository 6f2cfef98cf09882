"""What LiteLLM's transforms of one chat take, its SDK and the network left out; runs where LiteLLM is."""

import json
import sys

import httpx
import litellm
from litellm.llms.hosted_vllm.chat.transformation import HostedVLLMChatConfig

from . import exchanges
from .cpu_time import cpu_us


class _Log:
    """What the transforms tell their logger."""

    def post_call(self, **_: object) -> None:
        pass


def main() -> None:
    config, model = HostedVLLMChatConfig(), f"{exchanges.MODEL}-plain"
    answer = httpx.Response(200, content=exchanges.CHAT, headers={"content-type": "application/json"})

    def request() -> bytes:
        flat = json.loads(exchanges.chat_request())
        messages, given = flat.pop("messages"), {key: value for key, value in flat.items() if key != "model"}
        params = config.map_openai_params(given, {}, model, False)
        return json.dumps(config.transform_request(model, messages, params, {}, {})).encode()

    def reply() -> bytes:
        made = config.transform_response(
            model, answer, litellm.ModelResponse(), _Log(), {}, [], {}, {}, None, None, None
        )
        return made.model_dump_json().encode()

    json.dump({"LiteLLM's request": cpu_us(request), "LiteLLM's reply": cpu_us(reply)}, sys.stdout)


if __name__ == "__main__":
    main()
