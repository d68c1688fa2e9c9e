"""What a benchmark records about where it ran."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def hardware(processes: int = 1) -> dict[str, Any]:
    """Processor and cores of this machine, and how busy it was (load over the last minute)."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    return {
        "device": "cpu",
        "name": name,
        "cores": os.cpu_count(),
        "processes": processes,
        "load_average": round(os.getloadavg()[0], 1),
    }
