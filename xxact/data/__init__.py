"""Crystals in, batches out: sources, preparation, the store on disk, and batches on a device."""

from xxact.data.store import Store, open_store
from xxact.data.targets import CRYSTAL_SYSTEMS, Target

__all__ = ["CRYSTAL_SYSTEMS", "DeviceStore", "Store", "Target", "open_store"]


def __getattr__(name: str):
    """`DeviceStore`, loaded when it is first asked for: it imports torch."""
    if name == "DeviceStore":
        from xxact.data.batches import DeviceStore

        return DeviceStore
    raise AttributeError(f"module 'xxact.data' has no attribute '{name}'")
