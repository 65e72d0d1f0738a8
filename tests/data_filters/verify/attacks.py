"""Answers that want to be run, and a trap that notices if one was."""

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

_LIBC = "__import__('ctypes').CDLL(None)"
_FORK = (
    "__import__('_posixsubprocess').fork_exec([b'/usr/bin/touch', b'{mark}'], [b'/usr/bin/touch'], "
    "True, (), None, None, -1, -1, -1, -1, -1, -1, *__import__('os').pipe(), True, False, -1, None, "
    "None, None, -1, None, False)"
)
# what each does where nothing holds it is tested too
EFFECTS = {
    "open": "open('{mark}', 'w')",
    "io.FileIO": "__import__('io').FileIO('{mark}', 'w')",
    "os.open": "__import__('os').open('{mark}', 65)",
    "pathlib": "__import__('pathlib').Path('{mark}').touch()",
    "mkdir": "__import__('os').mkdir('{mark}')",
    "mkfifo": "__import__('os').mkfifo('{mark}')",
    "mknod": "__import__('os').mknod('{mark}')",
    "symlink": "__import__('os').symlink('/etc', '{mark}')",
    "link": "__import__('os').link('{canary}', '{mark}')",
    "rename": "__import__('os').rename('{canary}', '{mark}')",
    "remove": "__import__('os').remove('{canary}')",
    "truncate": "__import__('os').truncate('{canary}', 0)",
    "chmod": "__import__('os').chmod('{canary}', 511)",
    "utime": "__import__('os').utime('{canary}', (1, 1))",
    "xattr": "__import__('os').setxattr('{canary}', 'user.taken', b'1')",
    "append": "open('{canary}', 'a').write('taken')",
    "copy": "__import__('shutil').copy('{canary}', '{mark}')",
    "rmtree": "__import__('shutil').rmtree('{folder}')",
    "tempfile": "__import__('tempfile').mkstemp(dir='{folder}')",
    "sqlite3": "__import__('sqlite3').connect('{mark}').execute('create table t(a)')",
    "readline": "__import__('readline').write_history_file('{mark}')",
    "pyarrow": "__import__('pyarrow').OSFile('{mark}', 'w')",
    "numpy": "__import__('numpy').save('{mark}', [1])",
    "logging": "__import__('logging').FileHandler('{mark}')",
    "pickle": r"""__import__('pickle').loads(b"cos\nmkdir\n(V{mark}\ntR.")""",
    "libc.creat": _LIBC + ".creat(b'{mark}', 511)",
    "libc.system": _LIBC + ".system(b'touch {mark}')",
    "os.system": "__import__('os').system('touch {mark}')",
    "os.popen": "__import__('os').popen('touch {mark}').read()",
    "subprocess": "__import__('subprocess').run(['touch', '{mark}'])",
    "posix_spawn": "__import__('os').posix_spawn('/usr/bin/touch', ['touch', '{mark}'], {{}})",
    "fork": "__import__('os').fork() or __import__('os').mkdir('{mark}')",
    "pty": "__import__('pty').spawn(['touch', '{mark}'])",
    "exec": "__import__('os').execv('/usr/bin/touch', ['touch', '{mark}'])",
    "exec builtin": "exec('import os; os.mkdir(\"{mark}\")')",
    "importlib": "__import__('importlib').import_module('os').mkdir('{mark}')",
    "subclasses": "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == "
    "'_wrap_close'][0].__init__.__globals__['mkdir']('{mark}')",
    "comprehension": "[o.mkdir('{mark}') for o in [__import__('os')]]",
    "lambda": "(lambda o: o.mkdir('{mark}'))(__import__('os'))",
    "walrus": "[(o := __import__('os')), o.mkdir('{mark}')]",
    "conditional": "1 if __import__('os').mkdir('{mark}') else 24",
    "f-string": "f\"{{__import__('os').mkdir('{mark}')}}\"",
    "sympify": "__import__('sympy').sympify('__import__(\"os\").mkdir(\"{mark}\")')",
    "tcp": "__import__('socket').create_connection(('127.0.0.1', {port}), 1)",
    "udp": "__import__('socket').socket(2, 2).sendto(b'x', ('127.0.0.1', {port}))",
    "urllib": "__import__('urllib.request').request.urlopen('http://127.0.0.1:{port}/', None, 1)",
    "signal": "__import__('os').kill({pid}, 10)",
    "libc.kill": _LIBC + ".kill({pid}, 10)",
    "pidfd": "__import__('signal').pidfd_send_signal(__import__('os').pidfd_open({pid}), 10)",
}
if sys.version_info[:2] == (3, 11):  # what it is called with differs from version to version
    EFFECTS["_posixsubprocess"] = _FORK
# have no effect that a trap could see: they are to cost no more than their own verdict
SPITE = {
    "exit": "__import__('os')._exit(0)",
    "sys.exit": "__import__('sys').exit()",
    "segfault": "__import__('ctypes').string_at(0)",
    "memory": "[0] * 10**11",
    "digits": "9" * 6000,
    "power": "9**9**9**9",
    "factorial": "factorial(factorial(99))",
    "shift": "1 << 10**12",
    "brackets": "(" * 20_000 + ")" * 20_000,
    "lists": "[" * 100_000,
    "signs": "-" * 50_000 + "1",
    "format": "'{0.__class__.__mro__}'.format(1)",
    "format width": "'%99999999999d' % 1",
    "environment": "__import__('os').environ.copy()",
    "read": "open('/etc/passwd').read()",
    "proc": "open('/proc/{pid}/environ').read()",
    "surrogate": "\ud83d" + "1",
    "nul": "1\0 + 1",
    "forged": "[__import__('os').write(n, b'[[1.0,\"24\"],\"\"]\\n') for n in range(3, 9)]",
    "forged pickle": "[__import__('os').write(n, b'\\x80\\x04cposix\\nsystem\\n') for n in range(3, 9)]",
    "closes": "__import__('os').closerange(0, 64)",
    "escape": "\x1b]0;owned\x07",
    "huge exponent": "1e999999999",
}


class Trap:
    """Files, a listener and a signal handler that an answer would touch if it were run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.marks = folder / "trap", folder / "marks"
        self.folder.mkdir()
        self.marks.mkdir()
        self.canary = self.folder / "canary"
        self.canary.write_text("untouched")
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.signals, self.reached = 0, False
        self._before = signal.signal(signal.SIGUSR1, self._signalled)
        for listener in (self.tcp, self.udp):
            listener.setblocking(False)
        self._state = self._now()

    def _signalled(self, *_: object) -> None:
        self.signals += 1

    def answer(self, attack: str) -> str:
        """The text of an attack on this trap."""
        if "{mark}" in attack or "{canary}" in attack or "{p" in attack or "{folder}" in attack:
            return attack.format(
                mark=self.marks / "made",
                canary=self.canary,
                folder=self.folder,
                port=self.port,
                pid=os.getpid(),
            )
        return attack

    def sprung(self) -> bool:
        """Whether anything was touched since it was set."""
        return self._now() != self._state or self.signals > 0 or self._reached()

    def close(self) -> None:
        self.tcp.close()
        self.udp.close()
        signal.signal(signal.SIGUSR1, self._before)

    def _now(self) -> Any:
        if not self.canary.exists():
            return None
        state = self.canary.stat()
        names = sorted(path.name for path in (*self.folder.iterdir(), *self.marks.iterdir()))
        content = self.canary.read_text(), os.listxattr(self.canary)
        return names, content, state.st_mode, state.st_mtime_ns, state.st_nlink

    def _reached(self) -> bool:
        for take in (self.tcp.accept, lambda: self.udp.recv(1)):
            try:
                take()
                self.reached = True
            except BlockingIOError:
                continue
        return self.reached
