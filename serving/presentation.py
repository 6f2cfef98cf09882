"""Documents as clients get them."""

from collections.abc import Mapping

from .layers import client_errors, secrets, translate


def encoded(document: object) -> bytes:
    """A document of ours as JSON; what cannot be JSON is a bug and raises ``TypeError``."""
    data = translate.documents.encode(document)
    if isinstance(data, translate.documents.Malformed):
        raise TypeError(data.reason)
    return data


def hidden(document: Mapping[str, object], api_key: str) -> Mapping[str, object]:
    """The same without a server's key, where a text has it."""
    without = secrets.hide(document, api_key) if api_key else document
    return without if isinstance(without, Mapping) else document


def presented(error: Mapping[str, object], api_key: str = "") -> Mapping[str, object]:
    """An error in the form that clients read, without a server's key."""
    return client_errors.presentable(hidden(error, api_key))
