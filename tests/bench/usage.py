"""CPU time and memory of a process and its children, from /proc."""

import os
from pathlib import Path
from typing import NamedTuple

TICK_MICROSECONDS = 1_000_000 / os.sysconf('SC_CLK_TCK')


class Memory(NamedTuple):
    """Resident memory in bytes: now, and the most since `reset_peak`."""

    resident: int
    peak: int


def tree(pid: int) -> list:
    """Returns the process and all its descendants."""
    children = {}
    for entry in Path('/proc').iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def cpu_microseconds(pids) -> float:
    """Returns user and system time of all threads of the processes."""
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_MICROSECONDS


def memory(pids) -> Memory:
    resident = peak = 0
    for pid in pids:
        for line in Path(f'/proc/{pid}/status').read_text().splitlines():
            key, _, value = line.partition(':')
            if key == 'VmRSS':
                resident += int(value.split()[0]) * 1024
            if key == 'VmHWM':
                peak += int(value.split()[0]) * 1024
    return Memory(resident, peak)


def reset_peak(pids):
    """Sets the peak to what is resident now."""
    for pid in pids:
        Path(f'/proc/{pid}/clear_refs').write_text('5')


def _stat(pid: int):
    """The fields of /proc/PID/stat from the third, `state`, on; None if the process has ended."""
    try:
        text = Path(f'/proc/{pid}/stat').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(')')[2].split()
