"""The streamer: see :class:`TimeseriesStreamer`."""

from mbe_bridge._native import TimeseriesStreamer

__all__ = ["TimeseriesStreamer"]
