import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Protocol, TypedDict, Union, final, type_check_only

if sys.version_info >= (3, 11):
    from typing import NotRequired, Self
else:
    from typing_extensions import NotRequired, Self

__all__ = [
    "TimeseriesStreamer",
    "__version__",
    "check_account",
    "create_growth_instrument",
    "delete_growth_instrument",
    "list_growth_instruments",
]

__version__: str

@type_check_only
class _Array(Protocol):
    """A NumPy array, a pandas Series, and whatever else turns into an array."""

    def __array__(self) -> Any: ...

_Timestamps = Union[Sequence[float], Iterable[float], _Array]
_Values = Union[Sequence[float | None], Iterable[float | None], _Array]

@type_check_only
class Channel(TypedDict):
    timestamps: _Timestamps
    values: _Values
    units: NotRequired[str | None]

@type_check_only
class ClockStatus(TypedDict):
    offset_ms: float
    uncertainty_ms: float
    measured_at_unix_ms: float

@type_check_only
class StreamStatus(TypedDict):
    data_id: str
    name: str
    state: Literal["open", "left", "closing", "finalized"]
    queued_chunks: int
    queued_points: int
    uploaded_points: int
    rejected_points: int
    platform: Literal["unknown", "up", "down", "key_refused"]
    platform_says: str | None
    last_error: str | None
    oldest_queued: float | None

@type_check_only
class ResumedChannel(TypedDict):
    units: str | None
    next_chunk_index: int
    points: int
    last_timestamp: float | None

@type_check_only
class Resumed(TypedDict):
    data_id: str
    next_chunk_index: int
    points_per_chunk: int
    channels: dict[str, ResumedChannel]

@final
class TimeseriesStreamer:
    def __new__(
        cls,
        api_key: str,
        endpoint: str | None = None,
        points_per_chunk: int = 100,
        verbosity: int | None = None,
        *,
        data_dir: str | PathLike[str] | None = None,
        durable: bool = True,
    ) -> Self: ...
    def initialize(
        self,
        stream_name: str | None = None,
        synth_source_id: int | None = None,
        physical_sample: str | None = None,
        project_id: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> str: ...
    def push(
        self,
        data_id: str,
        chunk_index: int,
        channel_name: str,
        timestamps: _Timestamps,
        values: _Values,
        units: str | None = None,
    ) -> None: ...
    def push_multi(
        self, data_id: str, chunk_index: int, channels: Mapping[str, Channel] | Mapping[str, Mapping[str, Any]]
    ) -> None: ...
    def run(
        self,
        data_id: str,
        channel_name: str,
        data_iter: Iterable[tuple[_Timestamps, _Values]],
        units: str | None = None,
    ) -> None: ...
    def finalize(
        self, data_id: str, *, progress: Callable[[StreamStatus], object] | None = None
    ) -> None: ...
    def flush(self, timeout: float | None = None, *, data_id: str | None = None) -> None: ...
    def resume(self, data_id: str) -> Resumed: ...
    def status(self) -> dict[str, StreamStatus]: ...
    @property
    def pending(self) -> int: ...
    def clock_status(self) -> ClockStatus | None: ...
    def close(self, timeout: float = 5.0) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        _class: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None: ...

def check_account(endpoint: str, api_key: str) -> None: ...
def list_growth_instruments(endpoint: str, api_key: str) -> list[dict[str, Any]]: ...
def create_growth_instrument(
    endpoint: str, api_key: str, label: str, name: str, sort: str, serial_id: str | None
) -> int: ...
def delete_growth_instrument(endpoint: str, api_key: str, synth_source_id: int) -> None: ...
