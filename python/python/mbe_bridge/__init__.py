"""Streams time series to the Atomscale platform, on disk first.

``mbe_bridge.streaming.TimeseriesStreamer`` takes the place of the vendor's class of that name: change the import, and
every chunk is on disk before it is sent, is sent until the platform has it, and outlives the program that pushed it.
``mbe_bridge.Client`` lists, registers and removes the account's growth instruments.
"""

from mbe_bridge._native import __version__
from mbe_bridge.client import Client, ClientError

__all__ = ["Client", "ClientError", "__version__"]
