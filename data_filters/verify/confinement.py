"""Takes rights away from this process for good: Landlock, a seccomp filter, resource limits.

After it a process reads the installed packages, computes and writes to one file descriptor. It
starts no process, sends no signal, opens no socket, makes, changes or removes no file. Linux 5.13
and above has both means; what a kernel lacks is named, and the rest is taken away all the same.
Source: Linux, Documentation/userspace-api/landlock.rst and seccomp_filter.rst.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
import sysconfig
from pathlib import Path

MAX_OPEN_FILES = 64
LANDLOCK, SECCOMP = "Landlock", "seccomp"
_NO_NEW_PRIVS, _PR_SECCOMP = 38, 22  # of prctl
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # Landlock's system calls, the same on every machine
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# rights over files that each version of Landlock knows; over TCP; over signals and sockets
_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET, _SCOPE = {4: 0b11}, {6: 0b11}
_EPERM, _ALLOW, _KILL = 0x00050001, 0x7FFF0000, 0x80000000  # what a filter answers
_LOAD, _EQUAL, _ABOVE, _ANY, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # of BPF
_NUMBER, _MACHINE = 0, 4  # places in what a filter sees of a call; arguments follow at 16


def _argument(i: int) -> int:
    return 16 + 8 * i


# name: number on (x86_64, aarch64); what computing and reading need, and no more
_CALLS = {
    "read": (0, 63),
    "readv": (19, 65),
    "pread64": (17, 67),
    "close": (3, 57),
    "stat": (4, None),
    "lstat": (6, None),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "lseek": (8, 62),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "fadvise64": (221, 223),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "getrusage": (98, 165),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
_WRITE, _OPENAT, _FCNTL, _IOCTL = (1, 64), (257, 56), (72, 25), (16, 29)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_FIRST_X32 = 0x40000000  # the same calls once more, under numbers from here on
_OPEN_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_TMPFILE
_OPEN_TO_WRITE &= ~os.O_DIRECTORY
_FCNTL_READS = (1, 2, 3, 1030)  # F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
_IOCTL_READS = (0x5401, 0x5413)  # whether it is a terminal (TCGETS), and how wide (TIOCGWINSZ)


def confine(writable: int) -> list[str]:
    """From here on: only files of the installed packages can be read and none be changed, no new
    process or thread, no signal, no socket, no writing but to one file. The environment is emptied.

    Args:
        writable: the file descriptor that may still be written to.

    Returns:
        The protections that this kernel does not have.
    """
    os.dup2(1, 2)  # complaints that an answer has worded do not reach the terminal
    os.environ.clear()
    for limit, most in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
    ):
        resource.setrlimit(limit, (most, most))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    missing = [] if _confine_files(libc) else [LANDLOCK]
    return missing if _confine_calls(libc, writable) else [*missing, SECCOMP]


def _confine_files(libc: ctypes.CDLL) -> bool:
    """Whether Landlock holds for all of this process; it takes hold of one thread."""
    version = libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1 or len(os.listdir("/proc/self/task")) > 1:
        return False
    rights = [_newest(known, version) for known in (_FILES, _NET, _SCOPE)]
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = libc.syscall(_CREATE, struct.pack("QQQ", *rights)[:size], ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    for path in _readable():
        number = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = (_READ_FILE | _READ_DIR) if path.is_dir() else _READ_FILE
        libc.syscall(_ADD, ruleset, 1, struct.pack("=Qi", allowed, number), 0)
        os.close(number)
    held = libc.syscall(_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return held


def _confine_calls(libc: ctypes.CDLL, writable: int) -> bool:
    """Whether the filter of system calls holds."""
    if platform.machine() not in _MACHINES:
        return False
    program = _filter(*_MACHINES[platform.machine()], writable)
    code = ctypes.create_string_buffer(program, len(program))
    whole = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
    return libc.prctl(_PR_SECCOMP, 2, whole, 0, 0) == 0


def _newest(known: dict[int, int], version: int) -> int:
    return known[max(since for since in known if since <= version)] if min(known) <= version else 0


def _readable() -> list[Path]:
    """Python, its packages, the shared libraries, and the packages of this project, but not the
    folder that they lie in, which may be a checkout that holds other things too.
    """
    project = os.path.realpath(Path(__file__).parents[2])
    places = [path for path in sys.path if os.path.realpath(path) not in (project, os.getcwd())]
    places += [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib")]
    places += ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo"]
    places += ["/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom"]
    places += [os.path.join(project, room) for room in ("data_filters", "recipes")]
    found = {os.path.realpath(path) for path in places if os.path.exists(path)}
    return [Path(path) for path in sorted(found - {"/"})]


def _filter(column: int, machine: int, writable: int) -> bytes:
    """A seccomp program: the calls of the table pass, a few only with harmless arguments, any other
    fails with EPERM.
    """
    code = [
        _line(_LOAD, _MACHINE),
        _line(_EQUAL, machine, 1, 0),
        _line(_RETURN, _KILL),
        _line(_LOAD, _NUMBER),
        _line(_ABOVE, _FIRST_X32, 0, 1),
        _line(_RETURN, _EPERM),
    ]
    code += _only(_WRITE[column], 0, (writable,))
    code += _only(_FCNTL[column], 1, _FCNTL_READS)
    code += _only(_IOCTL[column], 1, _IOCTL_READS)
    code += [
        _line(_EQUAL, _OPENAT[column], 0, 4),
        _line(_LOAD, _argument(2)),
        _line(_ANY, _OPEN_TO_WRITE, 1, 0),
        _line(_RETURN, _ALLOW),
        _line(_RETURN, _EPERM),
    ]
    for numbers in _CALLS.values():
        if numbers[column] is not None:
            code += [_line(_EQUAL, numbers[column] or 0, 0, 1), _line(_RETURN, _ALLOW)]
    return b"".join([*code, _line(_RETURN, _EPERM)])


def _only(number: int, argument: int, values: tuple[int, ...]) -> list[bytes]:
    """Lets a call pass where the lower half of its argument is one of the values."""
    checks = [_line(_LOAD, _argument(argument))]
    for value in values:
        checks += [_line(_EQUAL, value, 0, 1), _line(_RETURN, _ALLOW)]
    checks.append(_line(_RETURN, _EPERM))
    return [_line(_EQUAL, number, 0, len(checks)), *checks]


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
