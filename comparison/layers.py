"""The packages that are joined here: side by side in a checkout, inside one when installed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__ == "comparison":  # in a checkout
    import translate
    import transports
    from routing import forms
    from transports import cassette
else:  # installed
    from .. import translate, transports
    from ..routing import forms
    from ..transports import cassette

__all__ = ["cassette", "forms", "translate", "transports"]
