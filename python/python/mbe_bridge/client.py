"""The account's growth instruments."""

from __future__ import annotations

import os

from mbe_bridge import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal


class ClientError(Exception):
    """The platform did not do what it was asked.

    Attributes:
        status_code: The HTTP status of its answer; None if there was none.
        response_text: Its words.
    """

    def __init__(
        self, message: str, status_code: int | None = None, response_text: str | None = None
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.response_text = response_text


class Client:
    """The account's growth instruments, one of which a stream can belong to.

    Args:
        api_key: The platform's API key. Default: the variable AS_API_KEY, else ATOMSCALE_API_KEY.
        endpoint: The platform's address. Default: the variable AS_API_ENDPOINT, else https://api.atomscale.ai/.
        mute_bars: Taken for the vendor's sake: nothing here shows a progress bar.

    Raises:
        ValueError: If there is no key, or key or endpoint can't be used.
    """

    def __init__(
        self, api_key: str | None = None, endpoint: str | None = None, mute_bars: bool = False
    ) -> None:
        if api_key is None:
            api_key = os.environ.get("AS_API_KEY", os.environ.get("ATOMSCALE_API_KEY"))
        if api_key is None:
            raise ValueError("No API key: give api_key, or set the variable AS_API_KEY")
        self.api_key = api_key
        self.endpoint = endpoint or os.environ.get("AS_API_ENDPOINT") or "https://api.atomscale.ai/"
        self.mute_bars = mute_bars
        _native.check_account(self.endpoint, self.api_key)

    def list_growth_instruments(self) -> list[dict[str, Any]]:
        """The growth instruments that a stream can belong to.

        Returns:
            For each a dict with "synth_source_id" (int), "source_name", "synth_source_type", "source_manufacturer" and
            "source_model" (None where the platform says nothing).

        Raises:
            ClientError: If the platform can't be reached or refuses.
        """
        return _native.list_growth_instruments(self.endpoint, self.api_key)

    def create_growth_instrument(
        self,
        label: str,
        name: str,
        instrument_type: Literal["mbe", "cvd", "pvd", "sputter", "ald", "pld"],
        serial_id: str | None = None,
    ) -> int:
        """Registers a growth instrument.

        Args:
            label: The text that people see, as "Main MBE".
            name: Maker and model, as "Veeco GEN10".
            instrument_type: What it is.
            serial_id: Its serial number.

        Returns:
            Its synth_source_id.

        Raises:
            ClientError: If the platform can't be reached or refuses.
        """
        return _native.create_growth_instrument(
            self.endpoint, self.api_key, label, name, instrument_type, serial_id
        )

    def delete_growth_instrument(self, synth_source_id: int) -> None:
        """Removes a growth instrument.

        Raises:
            ClientError: If the platform has none of this number, can't be reached or refuses.
        """
        _native.delete_growth_instrument(self.endpoint, self.api_key, synth_source_id)
