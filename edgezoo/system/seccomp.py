"""Forbid system calls to this process by a seccomp filter; needs no privileges.

Forbidden are those that Landlock cannot judge: sockets of every family, processes, changes of the
mode, owner, times and attributes of files, signals and limits of others, io_uring, and all that
needs privileges. A call newer than this list does not exist for the process (ENOSYS). Why a list
of what is forbidden, and why no library: docs/decisions/0080-a-filter-on-system-calls.md.

Source: https://docs.kernel.org/userspace-api/seccomp_filter.html and linux/seccomp.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterable

# Numbers on x86-64, on arm64 and RISC-V, and on 32-bit ARM, as libseccomp 2.5.4 resolves them.
_NUMBERS = """
accept 43 202 285
accept4 288 242 366
acct 163 89 51
add_key 248 217 309
adjtimex 159 171 124
alarm 37 - -
bind 49 200 282
bpf 321 280 386
capset 126 91 185
chmod 90 - 15
chown 92 - 182
chown32 - - 212
chroot 161 51 61
clock_adjtime 305 266 372
clock_adjtime64 - - 405
clock_settime 227 112 262
clock_settime64 - - 404
connect 42 203 283
delete_module 176 106 129
execve 59 221 11
execveat 322 281 387
fanotify_init 300 262 367
fanotify_mark 301 263 368
fchmod 91 52 94
fchmodat 268 53 333
fchmodat2 452 452 452
fchown 93 55 95
fchown32 - - 207
fchownat 260 54 325
finit_module 313 273 379
fork 57 - 2
fremovexattr 199 16 237
fsconfig 431 431 431
fsetxattr 190 7 228
fsmount 432 432 432
fsopen 430 430 430
fspick 433 433 433
futimesat 261 - 326
init_module 175 105 128
io_uring_enter 426 426 426
io_uring_register 427 427 427
io_uring_setup 425 425 425
ioperm 173 - -
iopl 172 - -
ioprio_set 251 30 314
kcmp 312 272 378
kexec_file_load 320 294 401
kexec_load 246 104 347
keyctl 250 219 311
lchown 94 - 16
lchown32 - - 198
listen 50 201 284
lookup_dcookie 212 18 249
lremovexattr 198 15 236
lsetxattr 189 6 227
memfd_create 319 279 385
memfd_secret 447 447 -
migrate_pages 256 238 400
mknod 133 - 14
mknodat 259 33 324
modify_ldt 154 - -
mount 165 40 21
mount_setattr 442 442 442
move_mount 429 429 429
move_pages 279 239 344
mq_open 240 180 274
mq_unlink 241 181 275
msgget 68 186 303
name_to_handle_at 303 264 370
nfsservctl 180 42 169
open_by_handle_at 304 265 371
open_tree 428 428 428
perf_event_open 298 241 364
personality 135 92 136
pidfd_getfd 438 438 438
pidfd_open 434 434 434
pidfd_send_signal 424 424 424
pivot_root 155 41 218
process_madvise 440 440 440
process_mrelease 448 448 448
process_vm_readv 310 270 376
process_vm_writev 311 271 377
ptrace 101 117 26
quotactl 179 60 131
quotactl_fd 443 443 443
reboot 169 142 88
removexattr 197 14 235
request_key 249 218 310
rt_sigqueueinfo 129 138 178
rt_tgsigqueueinfo 297 240 363
sched_setattr 314 274 380
sched_setparam 142 118 154
sched_setscheduler 144 119 156
semget 64 190 299
sendmmsg 307 269 374
sendmsg 46 211 296
sendto 44 206 290
setdomainname 171 162 121
setfsgid 123 152 139
setfsgid32 - - 216
setfsuid 122 151 138
setfsuid32 - - 215
setgid 106 144 46
setgid32 - - 214
setgroups 116 159 81
setgroups32 - - 206
sethostname 170 161 74
setns 308 268 375
setitimer 38 103 104
setpgid 109 154 57
setpriority 141 140 97
setregid 114 143 71
setregid32 - - 204
setresgid 119 149 170
setresgid32 - - 210
setresuid 117 147 164
setresuid32 - - 208
setreuid 113 145 70
setreuid32 - - 203
setrlimit 160 164 75
setsid 112 157 66
settimeofday 164 170 79
setuid 105 146 23
setuid32 - - 213
setxattr 188 5 226
shmget 29 194 307
socket 41 198 281
socketpair 53 199 288
swapoff 168 225 115
swapon 167 224 87
syslog 103 116 103
tkill 200 130 238
umount2 166 39 52
unshare 272 97 337
uselib 134 - 86
userfaultfd 323 282 388
utime 132 - -
utimensat 280 88 348
utimensat_time64 - - 412
utimes 235 - 269
vfork 58 - 190
vhangup 153 58 111
"""
# Judged by their arguments.
_CLONE, _CLONE3, _KILL, _TGKILL = (56, 220, 120), (435, 435, 435), (62, 129, 37), (234, 131, 268)
_PRLIMIT, _FCNTL, _FCNTL64, _IOCTL = (302, 261, 369), (72, 25, 55), (None, None, 221), (16, 29, 54)
_PRCTL, _SETAFFINITY, _SECCOMP = (157, 167, 172), (203, 122, 241), (317, 277, 383)
_HIGHEST = 456  # futex_requeue; above are calls on mounts, security modules and attributes
_MSEAL = 462
_ARM_PRIVATE = 0xF0000  # 32-bit ARM's own calls, such as that for thread-local storage
_ARCHITECTURES = {  # of linux/audit.h, with the column of numbers
    "x86_64": (0xC000003E, 0),
    "aarch64": (0xC00000B7, 1),
    "riscv64": (0xC00000F3, 1),
    "arm": (0x40000028, 2),
}
# For Coral's USB library, which listens for devices (libusb fails where it cannot).
_NETWORK = ("socket", "bind", "sendto", "sendmsg")
_MEMORY_FILES = ("memfd_create",)  # by which Vulkan drivers share buffers
_PROGRAMS = ("execve", "fork", "vfork")
_NAMESPACES = 0x7E020080  # CLONE_NEW...

# Instructions of the BPF machine of linux/bpf_common.h, and of its answers.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_THREAD = 0x10000  # CLONE_THREAD
_NETLINK = 16
_SET_DUMPABLE, _SET_PTRACER = 4, 0x59616D61
_SETOWN, _SETSIG, _SETOWN_EX, _SETLEASE, _NOTIFY = 8, 10, 15, 1024, 1026
# To ask for a terminal and its size, for bytes to read, and to set flags of descriptors.
_HARMLESS_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# Type into a terminal, send signals, change attributes of files.
_HARMFUL_IOCTLS = (0x5412, 0x541C, 0x8901, 0x8902, 0x40086602, 0x40046602, 0x401C5820, 0x40087602)
_SET_MODE_FILTER, _SPECULATION_ALLOWED = 1, 4
_NO_NEW_PRIVILEGES = 38  # of prctl

_Block = list[tuple[int, int, int, int]]


def available() -> bool:
    """Return whether this system can filter system calls of this interpreter."""
    column = _architecture()
    if column is None:
        return False
    # The kernel reads the program at an address that no process has, if it has filters at all.
    ctypes.set_errno(0)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(ctypes.c_long(_at(_SECCOMP, column[1])), _SET_MODE_FILTER, 0, None)
    return ctypes.get_errno() == errno.EFAULT


def restrict(device: str = "cpu", programs: bool = False) -> bool:
    """Filter the system calls of this thread, and of what it starts, irrevocably.

    Args:
        device: "cpu", or a device whose driver needs more.
        programs: it may start other programs, which stay in its process group.

    Returns:
        Whether the kernel installed the filter.
    """
    found = _architecture()
    if found is None:
        return False
    program = _assembled(_program(*found, device, programs, os.getpid()))
    code = ctypes.create_string_buffer(program, len(program))
    length = len(program) // 8
    address = ctypes.addressof(code)
    filled = struct.pack("@HP", length, address)
    header = ctypes.create_string_buffer(filled, len(filled))
    libc = ctypes.CDLL(None)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    call = ctypes.c_long(_at(_SECCOMP, found[1]))
    # A filter slows down speculation on kernels before 5.16 unless it says that it need not.
    flags = (_SPECULATION_ALLOWED, 0)
    return any(libc.syscall(call, _SET_MODE_FILTER, flag, header) == 0 for flag in flags)


def _architecture() -> tuple[int, int] | None:
    """Return the kernel's number for this interpreter's architecture, and its column."""
    if sys.platform != "linux" or sys.byteorder != "little":
        return None
    machine, small = os.uname().machine, sys.maxsize < 2**32
    if small:  # the kernel may have 64 bits
        return _ARCHITECTURES["arm"] if machine.startswith(("arm", "aarch64")) else None
    return _ARCHITECTURES.get(machine)


def _at(numbers: tuple[int | None, ...], column: int) -> int:
    number = numbers[column]
    assert number is not None
    return number


def _program(architecture: int, column: int, device: str, programs: bool, pid: int) -> _Block:
    """Return the filter: each block ends in an answer or falls through to the next."""
    allowed: set[str] = set(_PROGRAMS if programs else ())
    if device != "cpu":
        allowed.update(_MEMORY_FILES)
    if device == "coral":
        allowed.update(_NETWORK)
    code: _Block = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if column == 2:
        code += [(_AT_LEAST, 0, 1, _ARM_PRIVATE), (_RETURN, 0, 0, _ALLOW)]
    code += [(_EQUAL, 0, 1, _MSEAL), (_RETURN, 0, 0, _ALLOW)]
    code += [(_AT_LEAST, 0, 1, _HIGHEST + 1), _error(errno.ENOSYS)]
    for name, number in _forbidden(column):
        if name not in allowed:
            refusal = errno.EACCES if name in _SOCKETS else errno.EPERM
            code += [(_EQUAL, 0, 1, number), _error(refusal)]
    for numbers, block in _judged(device, programs, pid):
        if numbers[column] is not None:
            code += [(_EQUAL, 0, len(block), _at(numbers, column)), *block]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


_SOCKETS = ("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "sendto",
            "sendmsg", "sendmmsg")  # fmt: skip


def _forbidden(column: int) -> list[tuple[str, int]]:
    rows = (line.split() for line in _NUMBERS.split("\n") if line)
    return [(row[0], int(row[1 + column])) for row in rows if row[1 + column] != "-"]


def _judged(device: str, programs: bool, pid: int) -> list[tuple[tuple[int | None, ...], _Block]]:
    """Return calls that are judged by their arguments, with a block that answers."""
    refuse, allow = _error(errno.EPERM), (_RETURN, 0, 0, _ALLOW)
    own = _only(0, [pid])
    affinity = _only(0, [0, pid])
    cmd = [*_load(1), (_EQUAL, 0, 3, _SETOWN), *_load(2), (_EQUAL, 1, 0, pid), refuse]
    cmd += [*_load(1), *_none_of([_SETSIG, _SETOWN_EX, _SETLEASE, _NOTIFY])]
    ioctls = _only(1, _HARMLESS_IOCTLS)
    if device != "cpu":
        ioctls = [*_load(1), *_none_of(_HARMFUL_IOCTLS)]
    clone: _Block = [*_load(0), (_ANY_BIT, 0, 1, _THREAD), allow, refuse]
    if programs:
        clone = [*_load(0), (_ANY_BIT, 0, 1, _NAMESPACES), refuse, allow]
    judged: list[tuple[tuple[int | None, ...], _Block]] = [
        (_CLONE, clone),
        (_CLONE3, [_error(errno.ENOSYS)]),  # its flags are in memory; the C library then clones
        (_KILL, own),
        (_TGKILL, own),
        (_PRLIMIT, [*_load(2), (_EQUAL, 0, 2, 0), *_load(2, high=True), (_EQUAL, 1, 0, 0),
                    refuse, allow]),
        (_FCNTL, cmd),
        (_FCNTL64, cmd),
        (_IOCTL, ioctls),
        (_PRCTL, [*_load(0), *_none_of([_SET_DUMPABLE, _SET_PTRACER])]),
        (_SETAFFINITY, affinity),
    ]  # fmt: skip
    if device == "coral":
        rows = {line.split()[0]: line.split()[1:] for line in _NUMBERS.split("\n") if line}
        judged.append((tuple(map(int, rows["socket"])), _only(0, [_NETLINK], errno.EACCES)))
    return judged


def _load(argument: int, high: bool = False) -> _Block:
    """Load half of an argument; the lower one is all that the kernel reads of numbers."""
    return [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument + (4 if high else 0))]


def _only(argument: int, values: Iterable[int], refusal: int = errno.EPERM) -> _Block:
    """Allow a call only with these values of an argument."""
    allowed = [row for v in values for row in ((_EQUAL, 0, 1, v), (_RETURN, 0, 0, _ALLOW))]
    return [*_load(argument), *allowed, _error(refusal)]


def _none_of(values: Iterable[int]) -> _Block:
    """Refuse a call with one of these values of what is loaded, else allow it."""
    refused = [row for v in values for row in ((_EQUAL, 0, 1, v), _error(errno.EPERM))]
    return [*refused, (_RETURN, 0, 0, _ALLOW)]


def _error(number: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, _ERRNO | number)


def _assembled(code: _Block) -> bytes:
    return b"".join(struct.pack("<HBBI", *row) for row in code)
