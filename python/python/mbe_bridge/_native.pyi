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
    """Streams scalar time series (temperature, pressure, growth rate, ...) to the Atomscale platform, on disk first.

    A push returns when its chunk is on disk; it is sent in the background, again and again until the platform has it.
    What a program leaves unsent, for whatever reason, goes with the next TimeseriesStreamer of the same key and endpoint.

    Args:
        api_key: The platform's API key.
        endpoint: The platform's address. Default: the variable AS_API_ENDPOINT, else https://api.atomscale.ai.
        points_per_chunk: The most points that a channel has in one chunk. A stream keeps it for life.
        verbosity: What is written to standard error: 0 errors, 1 warnings, 2 what happens, 3 and 4 details. Default:
            nothing.
        data_dir: Where chunks are kept until the platform has them. Default: mbe-bridge in $XDG_STATE_HOME (else in
            ~/.local/state). Any number of programs may share it.
        durable: False has push return before the chunk is on disk. It is there before it is sent all the same, but a
            power failure may cost what was pushed in the last moments.

    Raises:
        RuntimeError: If key or endpoint can't be used, or data_dir can't be written to. The network is not needed.

    Example:
        >>> streamer = TimeseriesStreamer(api_key="YOUR_API_KEY")
        >>> data_id = streamer.initialize(stream_name="Growth 17", physical_sample="GaN-001")
        >>> streamer.push(data_id, 0, "temperature", [1795357081.0, 1795357081.1], [25.0, 25.1], units="C")
        >>> streamer.finalize(data_id)

    As a context manager it is closed at the end of the block: see close(). A stream is finalized by finalize() only.
    It can be used from any number of threads; in a process forked from its own it raises RuntimeError.
    """
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
    ) -> str:
        """Creates a stream on the platform, with its links.

        Args:
            stream_name: The name that people find it by.
            synth_source_id: The growth instrument, by its number from Client().list_growth_instruments().
            physical_sample: Name or UUID of the sample. A UUID has to exist; a name is looked up without regard to case,
                and created where there is none.
            project_id: UUID of the project. With a sample, the sample becomes the one that the project tracks.
            tags: Names or UUIDs of tags. UUIDs have to exist; unknown names are created.

        Returns:
            The data_id that every later call names.

        Raises:
            RuntimeError: If the platform refuses, or does not answer to three attempts. A sample or tag that can't be
                had means that nothing is created.
        """
    def push(
        self,
        data_id: str,
        chunk_index: int,
        channel_name: str,
        timestamps: _Timestamps,
        values: _Values,
        units: str | None = None,
    ) -> None:
        """Hands over one chunk of one channel. Returns when it is on disk; never waits for the network.

        A chunk pushed again under the same index replaces the one before. A value that is None, NaN or infinite is a
        missing point; a chunk without any point is not sent.

        Args:
            data_id: The stream, from initialize() or resume().
            chunk_index: The chunk's place in the stream, from 0.
            channel_name: The channel, as "temperature".
            timestamps: Unix time in seconds, by this computer's clock: list, tuple, NumPy array or pandas Series.
            values: As many values.
            units: The unit of the values, as "C" or "mbar". A channel keeps its unit.

        Raises:
            RuntimeError: If the lengths differ, there are more than points_per_chunk points, the stream is unknown here
                or finalized, or the disk does not take the chunk (with durable=False: too much waits for it already).
                Nothing of the chunk is then kept.
            TypeError: If what is given are no numbers.
        """
    def push_multi(
        self, data_id: str, chunk_index: int, channels: Mapping[str, Channel] | Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Hands over one chunk of several channels: it is kept and sent as one. Channels without points are left out.

        Channels that are given the same object of timestamps have it read, kept and sent once.

        Args:
            data_id: The stream, from initialize() or resume().
            chunk_index: The chunk's place in the stream, from 0.
            channels: For each channel's name a dict with "timestamps", "values" and, if there is one, "units"; see
                push().

        Raises:
            RuntimeError: As push(), with the channel's name. Nothing of the chunk is then kept.

        Example:
            >>> streamer.push_multi(data_id, 0, {
            ...     "temperature": {"timestamps": times, "values": temperatures, "units": "C"},
            ...     "pressure": {"timestamps": times, "values": pressures, "units": "mbar"},
            ... })
        """
    def run(
        self,
        data_id: str,
        channel_name: str,
        data_iter: Iterable[tuple[_Timestamps, _Values]],
        units: str | None = None,
    ) -> None:
        """Sends all of a channel, chunk by chunk, and returns when the platform has it.

        Args:
            data_id: The stream, from initialize() or resume().
            channel_name: The channel, as "temperature".
            data_iter: Yields a tuple (timestamps, values) for each chunk. Chunks are numbered on from the channel's last,
                and cut where they have more than points_per_chunk points.
            units: The unit of the values.

        Raises:
            RuntimeError: As push(), with the number of the chunk; or if the platform refused one.
        """
    def finalize(
        self, data_id: str, *, progress: Callable[[StreamStatus], object] | None = None
    ) -> None:
        """Waits until the platform has every chunk of a stream, then marks it as complete. Ctrl-C ends the wait.

        It waits as long as that takes. What was pushed is on disk: a program that does not live to see the end of it
        loses nothing. See flush() for a wait with an end.

        Args:
            data_id: The stream, from initialize() or resume().
            progress: Called about each second with what status() says of the stream.

        Raises:
            RuntimeError: If the stream is unknown here, or the platform refused points of it or does not accept the key.
        """
    def flush(self, timeout: float | None = None, *, data_id: str | None = None) -> None:
        """Waits until the platform has everything that was pushed so far. Ctrl-C ends the wait.

        Args:
            timeout: The longest wait in seconds; without it, as long as it takes.
            data_id: One stream; without it, all of this streamer.

        Raises:
            TimeoutError: If something is not confirmed yet. It is on disk and is still being sent.
            RuntimeError: If the platform does not accept the key or refused something.
        """
    def resume(self, data_id: str) -> Resumed:
        """Goes on with a stream that an earlier program left, or that this one has closed its streamer of.

        What the earlier program pushed is not lost: it is sent as if that program were still running. A stream that
        nobody picks up is finalized two hours after its last push.

        Args:
            data_id: The stream.

        Returns:
            A dict with "next_chunk_index" (one past the highest that was pushed), "points_per_chunk", and in "channels",
            by name, what each channel has so far.

        Raises:
            RuntimeError: If no data of the stream is kept on this computer, another process has it, or it is finalized.
        """
    def status(self) -> dict[str, StreamStatus]:
        """Every stream that this streamer has, those that earlier programs left included.

        Returns:
            By data_id a dict: "name", "state" ("open", "left", "closing", "finalized"), "queued_chunks" and
            "queued_points" (pushed, not confirmed by the platform), "uploaded_points", "rejected_points", "platform"
            ("unknown", "up", "down", "key_refused"), "platform_says", "last_error", "oldest_queued" (Unix time).
        """
    @property
    def pending(self) -> int:
        """Chunks of all streams that the platform has not confirmed yet. A number that keeps rising says that more is
        pushed than the platform takes; they wait on disk.
        """
    def clock_status(self) -> ClockStatus | None:
        """This computer's clock against the platform's; timestamps are sent by the platform's.

        Returns:
            A dict with "offset_ms" (the platform's time minus this computer's), "uncertainty_ms" and
            "measured_at_unix_ms"; None before it is measured, and where the variable ATOMSCALE_SKIP_CLOCK_SYNC turns
            it off.
        """
    def close(self, timeout: float = 5.0) -> int:
        """Stops the streamer; it can't be used any more. Finalizes nothing: a stream can be resumed for two hours.

        Args:
            timeout: How many seconds the platform is waited for, if it has not everything yet.

        Returns:
            How many chunks the platform does not have yet. They are on disk, and go with the next streamer of the same
            key and endpoint.
        """
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
