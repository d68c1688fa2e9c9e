"""Crystals in, batches out.

`fetch/` downloads public data sets. `sources/` reads files row by row, `cif/` the CIFs in them.
`prepare` makes a store of what a source gives: `compute` spreads the rows over `workers`, `shard`
makes columns of some, `merge` the store of all, `folder` puts it in its place. `store` reads it,
`batches` holds it on a device. The rest says what is in one: `targets`, `labels`, `leak`, `floors`.
"""

from xxact.data.store import Store, open_store
from xxact.data.targets import CRYSTAL_SYSTEMS, Target

__all__ = ["CRYSTAL_SYSTEMS", "DeviceStore", "Store", "Target", "open_store"]


def __getattr__(name: str):
    """`DeviceStore`, loaded when it is first asked for: it imports torch."""
    if name == "DeviceStore":
        from xxact.data.batches import DeviceStore

        return DeviceStore
    raise AttributeError(f"module 'xxact.data' has no attribute '{name}'")
