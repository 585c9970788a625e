"""Programs that attack the judge, as data: what each tries stands in its source, what is seen of it in judge_watch."""

from __future__ import annotations

from typing import Any, NamedTuple


class Attack(NamedTuple):
    """A program with `attack(place)`; place: what there is to find (judge_watch.place)."""

    source: str
    result: Any = []  # what a contained attack returns; ANY where only the look from outside counts
    reasons: tuple[str, ...] = ()  # or else why the judge may say that it failed
    cpu_seconds: float = 2.0
    wall_seconds: float = 6.0
    memory_bytes: int = 256 << 20


ANY = "anything"
TOOLS = '''
import ctypes, errno, os, signal, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
NO = (errno.EPERM, errno.ENOSYS, errno.EACCES)
worked = []

def attempt(what, action, *arguments):
    """Note what gave something."""
    try:
        if action(*arguments):
            worked.append(what)
    except BaseException as error:
        if os.getpid() != ME:
            os._exit(0)

def call(number, *arguments):
    """A system call: its result, or minus the error."""
    ctypes.set_errno(0)
    arguments = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return result if result >= 0 else -ctypes.get_errno()

def child(action):
    """Run in a child that ends with it."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        finally:
            os._exit(0)
    return pid

def busy(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

ME = os.getpid()
def solve(place):
    return attack(place) if place else "still here"
'''

ATTACKS: dict[str, Attack] = {}

# ---- files ---------------------------------------------------------------------------------------------------------

ATTACKS["read files"] = Attack(
    """
def attack(place):
    secret = place["secret"]
    me, parent, judge = os.getpid(), os.getppid(), place["judge"]
    paths = [secret, "/tmp/../.." + secret, "/usr/.." + secret, "/proc/self/root" + secret, "/proc/self/cwd" + secret]
    paths += [f"/proc/{pid}/{name}" for pid in (1, 2, me, parent, judge, "self", "thread-self")
              for name in ("root" + secret, "cwd" + secret, "environ", "cmdline", "maps", "mem", "stat", "status", "auxv")]
    paths += ["/etc/passwd", "/etc/shadow", "/etc/hosts", "/etc/machine-id", "/etc/fstab", "/etc/ssl/openssl.cnf"]
    paths += ["/proc/version", "/proc/cmdline", "/proc/mounts", "/proc/net/tcp", "/proc/meminfo", "/proc/keys", "/proc/kallsyms"]
    paths += ["/proc/sys/kernel/hostname", "/proc/config.gz", "/proc/kmsg", "/dev/kmsg", "/dev/mem", "/dev/kmem", "/dev/port"]
    paths += ["/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/loop-control", "/dev/console"]
    paths += ["/sys/kernel/notes", "/sys/class/dmi/id/product_name", "/sys/fs/cgroup/cgroup.procs", "/sys/power/state"]
    paths += [home + "/" + name for home in place["homes"]
              for name in (".bashrc", ".profile", ".bash_history", ".ssh/id_rsa", ".ssh/authorized_keys", ".netrc", ".gitconfig")]
    paths += place["project"] + ["/var/log/dpkg.log", "/var/lib/dpkg/status", "/run/utmp", "/var/log/lastlog"]
    for path in paths:
        attempt("read " + path, lambda: os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 1))
    for folder in ("/etc", "/home", "/proc", "/sys", "/run", "/var", "/var/tmp", "/work", "/opt", "/srv", "/boot", "/mnt", "/media",
                   os.path.dirname(secret), *place["homes"]):
        attempt("list " + folder, os.listdir, folder)
    for number, path in enumerate((secret, "/etc/passwd", place["project"][0])):
        for make in (os.symlink, os.link, os.rename):
            def linked():
                make(path, f"/tmp/link{number}")
                with open(f"/tmp/link{number}", "rb") as file:
                    return file.read(1)
            attempt(f"{make.__name__} {path}", linked)
        how = ctypes.create_string_buffer(struct.pack("QQQ", 0, 0, 0), 24)
        attempt("openat2 " + path, lambda: call(437, -100, path.encode(), how, 24) >= 0)
        root = os.open("/", os.O_PATH)
        attempt("openat " + path, os.open, "../../../.." + path, os.O_RDONLY)
        attempt("openat root " + path, lambda: os.open("." + path, os.O_RDONLY, dir_fd=root) + 1)
        os.close(root)
    handle = ctypes.create_string_buffer(struct.pack("Ii", 120, 0) + bytes(120))
    attempt("name_to_handle_at", lambda: call(303, -100, b"/", handle, ctypes.byref(ctypes.c_int()), 0) >= 0)
    root_inode = ctypes.create_string_buffer(struct.pack("IiIQ", 8, 1, 2, 0) + bytes(100))
    attempt("open_by_handle_at", lambda: call(304, os.open("/usr", os.O_RDONLY), root_inode, 0) >= 0)
    return worked
"""
)
ATTACKS["write files"] = Attack(
    """
def attack(place):
    mark, own = place["mark"], ("/tmp", "/dev/shm")
    folders = {os.path.dirname(place["secret"]), "/etc", "/var/tmp", "/run", "/run/lock", "/sys", "/proc", *place["homes"],
               os.path.dirname(place["project"][0]), *(path for path in sys.path if path)}
    for top, names, _ in os.walk("/"):
        folders.add(top)
        if top.count("/") >= 3 or top.startswith(own):
            names.clear()
    for folder in folders:
        if not folder.startswith(own):
            attempt("create in " + folder, lambda: os.open(folder + "/" + mark, os.O_CREAT | os.O_WRONLY) + 1)
            attempt("mkdir in " + folder, lambda: os.mkdir(folder + "/" + mark + "d") is None)
    files = [module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
    files += [module.__cached__ for module in list(sys.modules.values()) if getattr(module, "__cached__", None)]
    for path in files + [place["secret"], sys.executable, "/usr/bin/env"]:
        attempt("write " + path, lambda: os.open(path, os.O_RDWR) + 1)
        attempt("truncate " + path, lambda: os.truncate(path, 0) is None)
        attempt("chmod " + path, lambda: os.chmod(path, 0o777) is None)
        attempt("unlink " + path, lambda: os.unlink(path) is None)
        attempt("rename " + path, lambda: os.rename(path, path + "x") is None)
        attempt("utime " + path, lambda: os.utime(path) is None)
    for path, text in {"/proc/self/oom_score_adj": "-1", "/proc/self/uid_map": "0 0 1", "/proc/sys/kernel/core_pattern": "|/bin/sh",
                       "/proc/sys/vm/overcommit_memory": "1", "/sys/kernel/mm/ksm/run": "0", "/dev/shm/../../etc/x": "x"}.items():
        attempt("write " + path, lambda: open(path, "w").write(text))
    attempt("device", lambda: os.mknod("/tmp/sda", 0o60666, os.makedev(254, 0)) is None)
    attempt("device", lambda: os.mknod("/tmp/mem", 0o20666, os.makedev(1, 1)) is None)
    return worked
"""
)
ATTACKS["files left for the next test"] = Attack(
    """
def attack(place):
    for folder in ("/tmp", "/dev/shm", os.path.expanduser("~"), os.getcwd()):
        for path in (f"{folder}/{place['mark']}", f"{folder}/json.py", f"{folder}/.hidden/x", f"{folder}/sitecustomize.py"):
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w") as file:
                    file.write("raise SystemExit")
                os.chmod(os.path.dirname(path), 0o100) if "hidden" in path else None
            except OSError:
                pass
    return []

def solve(place):
    if place:
        return attack(place)
    left = []
    for folder in ("/tmp", "/dev/shm", os.getcwd()):
        try:
            os.close(os.open(folder + "/new", os.O_CREAT))  # where nothing can be written, nothing can be left
            os.unlink(folder + "/new")
            left += os.listdir(folder)
        except OSError:
            pass
    return f"left: {left}" if left else "still here"
"""
)

# ---- what is inherited, other processes ----------------------------------------------------------------------------

ATTACKS["descriptors"] = Attack(
    """
import stat
def attack(place):
    for fd in range(4096):
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            continue
        kind = stat.S_IFMT(mode)
        attempt(f"{fd} is a socket", lambda: kind == stat.S_IFSOCK)
        attempt(f"{fd} is a folder", lambda: kind == stat.S_IFDIR)
        attempt(f"{fd} is a disk file", lambda: kind == stat.S_IFREG and os.fstat(fd).st_nlink > 0)
        attempt(f"{fd} is a terminal", os.isatty, fd)
        try:
            os.set_blocking(fd, False)
        except OSError:
            continue
        attempt(f"{fd} has something to read", os.read, fd, 10)
    attempt("environment", lambda: {name for name in os.environ if not name.startswith(("LC_", "LANG", "LD_LIBRARY_PATH", "PATH", "HOME", "PWD"))})
    attempt("arguments", lambda: place["judge_mark"] in repr(sys.argv) + repr(sys.orig_argv))
    return worked
"""
)
ATTACKS["other processes"] = Attack(
    """
def attack(place):
    own, parent, judge = os.getpid(), os.getppid(), place["judge"]
    libc.ptrace.restype = ctypes.c_long
    buffer = ctypes.create_string_buffer(64)
    area = struct.pack("QQ", ctypes.addressof(buffer), 64)
    for pid in {1, 2, 3, parent, judge, *range(judge - 5, judge + 5)} - {own, 0, -1}:
        attempt(f"ptrace {pid}", lambda: call(101, 16, pid, 0, 0) >= 0)
        attempt(f"ptrace seize {pid}", lambda: call(101, 0x4206, pid, 0, 0) >= 0)
        for address in (id(attack), ctypes.addressof(buffer)):
            remote = struct.pack("QQ", address, 64)
            attempt(f"process_vm_readv {pid}", lambda: call(310, pid, area, 1, remote, 1, 0) > 0)
            attempt(f"process_vm_writev {pid}", lambda: call(311, pid, area, 1, remote, 1, 0) > 0)
        attempt(f"memory of {pid}", lambda: open(f"/proc/{pid}/mem", "rb"))
        attempt(f"kcmp {pid}", lambda: call(312, pid, own, 0, 0, 0) >= 0)
        pidfd = call(434, pid, 0)
        if pidfd >= 0:
            for fd in range(12):
                attempt(f"pidfd_getfd {pid} {fd}", lambda: call(438, pidfd, fd, 0) >= 0)
            attempt(f"process_madvise {pid}", lambda: call(440, pidfd, area, 1, 21, 0) > 0)
            for flag in (0x10000000, 0x20000, 0x40000000):
                attempt(f"setns {pid}", lambda: call(308, pidfd, flag) >= 0)
    attempt("the judge is in sight", lambda: os.kill(judge, 0) is None)
    return worked
"""
)
for _name, _signals in {"kill": "9", "stop": "19", "term, hup, int, user": "15, 1, 2, 10, 12, 34"}.items():
    ATTACKS[f"signals: {_name}"] = Attack(
        f"""
def attack(place):
    judge = place["judge"]
    for number in ({_signals},):
        for pid in (judge, *range(judge - 3, judge + 3), 1, 2, os.getppid(), 0, -1):
            if pid != os.getpid():
                fd = call(434, pid, 0) if pid > 0 else -1
                call(424, fd, number, 0, 0) if fd >= 0 else None
                call(62, pid, number)
                call(200, pid, number)
    return []
""",
        ANY,
        cpu_seconds=0.5,
        wall_seconds=1.0,
    )
ATTACKS["limits of others"] = Attack(
    """
import resource
def attack(place):
    for pid in (place["judge"], 1):
        attempt(f"prlimit {pid}", resource.prlimit, pid, resource.RLIMIT_NOFILE)
    for name in ("AS", "CPU", "NPROC", "FSIZE", "NOFILE", "CORE", "DATA", "STACK", "MEMLOCK", "MSGQUEUE", "RTPRIO", "NICE"):
        kind = getattr(resource, "RLIMIT_" + name)
        soft, hard = resource.getrlimit(kind)
        more = -1 if hard != -1 else None
        attempt("raise " + name, lambda: more and hard != -1 and resource.setrlimit(kind, (more, more)) is None)
        attempt("core files", lambda: name == "CORE" and hard != 0)
    attempt("nice -20", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20) is None)
    attempt("real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)) is None)
    attempt("real time input", lambda: call(251, 1, 0, 1 << 13) == 0)
    return worked
"""
)

# ---- kernel --------------------------------------------------------------------------------------------------------

ATTACKS["system calls"] = Attack(
    """
def attack(place):
    if os.uname().machine != "x86_64":
        return []
    space = ctypes.create_string_buffer(4096)
    calls = {
        "io_uring_setup": (425, 1, 0), "io_uring_setup 2": (425, 1, space), "io_uring_enter": (426, 0, 0, 0, 0, 0, 0),
        "io_uring_register": (427, 0, 0, 0, 0), "ptrace": (101, 0, 0, 0, 0), "mount": (165, b"none", b"/tmp", b"tmpfs", 0, 0),
        "umount2": (166, b"/tmp", 2), "pivot_root": (155, b"/tmp", b"/tmp"), "chroot": (161, b"/tmp"), "open_tree": (428, -100, b"/", 1),
        "move_mount": (429, -1, b"", -1, b"", 0), "fsopen": (430, b"tmpfs", 0), "fsconfig": (431, -1, 0, 0, 0, 0), "fsmount": (432, -1, 0, 0),
        "fspick": (433, -100, b"/", 0), "mount_setattr": (442, -100, b"/", 0, 0, 0), "statmount": (457, 0, 0, 0, 0), "listmount": (458, 0, 0, 0, 0),
        "add_key": (248, b"user", b"x", b"y", 1, -3), "request_key": (249, b"user", b"x", 0, 0), "keyctl": (250, 0, -3, 0),
        "bpf": (321, 0, space, 64), "perf_event_open": (298, space, 0, -1, -1, 0), "userfaultfd": (323, 0), "userfaultfd user": (323, 1),
        "init_module": (175, 0, 0, 0), "finit_module": (313, -1, 0, 0), "delete_module": (176, b"x", 0), "kexec_load": (246, 0, 0, 0, 0),
        "kexec_file_load": (320, -1, -1, 0, 0, 0), "reboot": (169, 0, 0, 0, 0), "swapon": (167, b"/tmp/x", 0), "swapoff": (168, b"/tmp/x"),
        "acct": (163, 0), "quotactl": (179, 0, 0, 0, 0), "settimeofday": (164, space, 0), "clock_settime": (227, 0, space), "syslog": (103, 3, space, 99),
        "iopl": (172, 3), "ioperm": (173, 0x80, 1, 1), "sethostname": (170, b"x", 1), "setdomainname": (171, b"x", 1), "vhangup": (153,),
        "lookup_dcookie": (212, 0, 0, 0), "nfsservctl": (180, 0, 0, 0), "fanotify_init": (300, 0x200, 0), "fanotify_init 2": (300, 0, 0),
        "shmget": (29, 0, 4096, 0o1600), "msgget": (68, 0, 0o1600), "semget": (64, 0, 1, 0o1600), "mq_open": (240, b"x", 0o102, 0o600, 0),
        "memfd_secret": (447, 0), "setns": (308, 0, 0), "process_madvise": (440, -1, 0, 0, 0, 0), "pidfd_getfd": (438, -1, 0, 0),
        "kcmp": (312, os.getpid(), os.getpid(), 0, 0, 0), "migrate_pages": (256, 0, 0, 0, 0), "move_pages": (279, 1, 0, 0, 0, 0, 0),
        "name_to_handle_at": (303, -100, b"/", space, space, 0), "open_by_handle_at": (304, -100, space, 0), "uselib": (134, b"x"),
        "clone3": (435, 0, 0),
    }
    for name, arguments in calls.items():
        attempt(name, lambda: -call(*arguments) not in NO)
    flags = {"user": 0x10000000, "pid": 0x20000000, "net": 0x40000000, "mount": 0x20000, "ipc": 0x8000000, "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}
    for name, flag in flags.items():
        attempt("unshare " + name, lambda: call(272, flag) == 0)
        attempt("unshare with user " + name, lambda: call(272, flag | 0x10000000) == 0)
    for name, flag in flags.items():
        if name == "time":
            continue
        for more in (0, 0x10000000):
            pid = call(56, flag | more | signal.SIGCHLD, 0, 0, 0, 0)
            if pid == 0:
                os._exit(0)
            attempt(f"clone {name} {more:x}", lambda: pid > 0)
            new = struct.pack("11Q", flag | more, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
            pid = call(435, new, len(new))
            if pid == 0:
                os._exit(0)
            attempt(f"clone3 {name} {more:x}", lambda: pid > 0)
    for family in range(46):
        for kind in (1, 2, 3, 5):
            if family != socket.AF_UNIX:
                attempt(f"socket {family} {kind}", lambda: call(41, family, kind, 0) >= 0)
    for number in (9, 41, 62, 101, 165, 272, 425):  # the x32 interface
        attempt(f"x32 {number}", lambda: call(0x40000000 + number, 2, 1, 0, 0) not in (-errno.EPERM, -errno.ENOSYS))
    return worked
"""
)
ATTACKS["32-bit calls"] = Attack(
    """
import mmap
def attack(place):
    if os.uname().machine != "x86_64":
        return []
    for name, number, first, second in (("getpid", 20, 0, 0), ("unshare", 310, 0x10000000, 0), ("ptrace", 26, 0, 0), ("socket", 359, 2, 1)):
        inner, outer = os.pipe()
        def run():
            code = mmap.mmap(-1, 4096, prot=7)
            body = b"\\x53\\xb8" + struct.pack("I", number) + b"\\xbb" + struct.pack("I", first) + b"\\xb9" + struct.pack("I", second)
            code.write(body + b"\\x31\\xd2\\xcd\\x80\\x5b\\xc3")
            function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
            result = function()
            os.write(outer, b"%d" % result)
        os.waitpid(child(run), 0)
        os.close(outer)
        text = os.read(inner, 20)
        os.close(inner)
        attempt(f"{name}: {text}", lambda: text and -int(text) not in NO)
    return worked
"""
)
ATTACKS["rights"] = Attack(
    """
def attack(place):
    for become in (os.setuid, os.setgid, os.seteuid, os.setegid, lambda n: os.setresuid(n, n, n), lambda n: os.setgroups([n])):
        attempt("became root", lambda: become(0) is None)
    attempt("root", lambda: 0 in os.getresuid() + os.getresgid())
    attempt("groups", lambda: 0 in os.getgroups())
    attempt("new privileges allowed", lambda: libc.prctl(39, 0, 0, 0, 0) != 1)
    header, data = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0)), ctypes.create_string_buffer(24)
    attempt("capabilities", lambda: call(125, header, data) == 0 and any(data.raw))
    attempt("ambient capabilities", lambda: any(libc.prctl(47, 1, number, 0, 0) == 1 for number in range(41)))
    attempt("no seccomp filter", lambda: libc.prctl(21, 0, 0, 0, 0) != 2)
    attempt("the user of the judge", lambda: place["judge_uid"] == 0 and os.getuid() == 0)
    for program in ("su", "mount", "umount", "passwd", "newgrp", "chsh", "gpasswd", "ping", "sudo", "pkexec", "newuidmap", "fusermount3"):
        path = "/usr/bin/" + program
        if os.path.exists(path):
            inner, outer = os.pipe()
            def run():
                os.dup2(outer, 1), os.dup2(outer, 2)
                os.execve(path, [path, "-c", "id -u", "root"], {"PATH": "/usr/bin"})
            pid = child(run)
            os.close(outer)
            text, part = b"", True
            while part:
                part = os.read(inner, 999)
                text += part
            os.close(inner), os.waitpid(pid, 0)
            attempt(f"{program} made us root", lambda: text.strip() == b"0")
    for path in ("/dev/tty", "/dev/console", "/dev/tty1", "/dev/vcs"):
        attempt(path, lambda: os.open(path, os.O_RDWR | os.O_NONBLOCK) + 1)
    for fd in range(8):
        attempt(f"typed into {fd}", lambda: call(16, fd, 0x5412, b"x") == 0)
    return worked
"""
)

# ---- network -------------------------------------------------------------------------------------------------------

ATTACKS["network"] = Attack(
    """
def attack(place):
    for host in ("127.0.0.1", "::1", "localhost", place["address"], "0.0.0.0", "169.254.169.254"):
        def connect():
            socket.create_connection((host, place["tcp"]), 0.2).sendall(b"here")
            return True
        attempt("tcp " + host, connect)
        def send():
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.socket(family, socket.SOCK_DGRAM).sendto(b"here", (host, place["udp"]))
        attempt("udp " + host, send)
        def fast():
            return socket.socket().sendto(b"here", 0x20000000, (host, place["tcp"]))  # MSG_FASTOPEN
        attempt("fast open " + host, fast)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for name in (b"\\0" + place["abstract"].encode(), place["unix"], "/run/systemd/journal/socket", "/run/dbus/system_bus_socket",
                     "/var/run/docker.sock", "/dev/log", "/run/nscd/socket", "/tmp/.X11-unix/X0", b"\\0/tmp/.X11-unix/X0"):
            def connect():
                end = socket.socket(socket.AF_UNIX, kind)
                end.settimeout(0.2)
                end.connect(name)
                end.send(b"here")
                return True
            attempt(f"unix {name}", connect)
    attempt("name look-up", lambda: socket.getaddrinfo("example.com", 80))
    attempt("netlink", lambda: socket.socket(16, 3, 0).bind((0, 0)) is None)
    attempt("raw", socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)
    attempt("packet", socket.socket, 17, socket.SOCK_RAW, 3)
    attempt("vsock", lambda: socket.socket(40, 1).connect((2, 1)) is None)
    attempt("vsock device", os.open, "/dev/vsock", os.O_RDONLY)
    return worked
"""
)

# ---- bombs ---------------------------------------------------------------------------------------------------------

for _name, _make in {
    "fork": "os.fork()",
    "vfork": "call(56, 0x4000 | 17, 0, 0, 0, 0)",  # CLONE_VFORK without the shared memory
    "clone3": "call(435, struct.pack('11Q', 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88)",
}.items():
    ATTACKS[f"{_name} bomb"] = Attack(
        f"""
def attack(place):
    refused = 0
    while refused < 300:
        try:
            if {_make} < 0:
                refused += 1
        except OSError:
            refused += 1
    time.sleep(60)
""",
        ANY,
        cpu_seconds=0.5,
        wall_seconds=1.0,
    )
ATTACKS["thread bomb"] = Attack(
    """
import _thread
def attack(place):
    count = 0
    try:
        for _ in range(3000):
            _thread.start_new_thread(time.sleep, (60,))
            count += 1
    except RuntimeError:
        pass
    return count > 64
""",
    False,
)
ATTACKS["memory: one process"] = Attack(
    "def attack(place):\n    x = []\n    while True: x.append(bytearray(1 << 24))",
    reasons=("out_of_memory", "crashed"),
)
_EIGHT = """
kept = []
def eat():
    try:
{}
    except Exception:
        pass
    while True:
        time.sleep(1)

def attack(place):
    for _ in range(8):
        try:
            child(eat)
        except OSError:
            break
    time.sleep(60)
"""
for _name, _eat in {
    "many processes": """
        while True: kept.append(bytearray(b"x") * (1 << 22))
""",
    "memfd": """
        for i in range(200):
            fd = os.memfd_create("x")
            try:
                while os.write(fd, bytes(1 << 22)): pass
            except OSError: pass
""",
    "shared mappings": """
        import mmap
        while True:
            part = mmap.mmap(-1, 1 << 24)
            for at in range(0, 1 << 24, 4096): part[at] = 1
            kept.append(part)
""",
    "System V": """
        for i in range(200):
            number = call(29, 0, 1 << 24, 0o1600)
            libc.shmat.restype = ctypes.c_void_p
            at = libc.shmat(number, None, 0)
            ctypes.memset(at, 1, 1 << 24)
            libc.shmdt(ctypes.c_void_p(at))
""",
    "pipes and sockets": """
        import fcntl
        for i in range(200):
            for inner, outer in (os.pipe(), [end.detach() for end in socket.socketpair()]):
                try: fcntl.fcntl(outer, 1031, 1 << 20)
                except OSError: pass
                os.set_blocking(outer, False)
                try:
                    while os.write(outer, bytes(1 << 16)): pass
                except OSError: pass
""",
    "temporary files": """
        for folder in ("/tmp", "/dev/shm"):
            for i in range(200):
                try:
                    with open(f"{folder}/{os.getpid()}-{i}", "wb", 0) as file:
                        while file.write(bytes(1 << 22)): pass
                except OSError: pass
""",
}.items():
    ATTACKS[f"memory: {_name}"] = Attack(
        _EIGHT.format(_eat.strip("\n")), ANY, cpu_seconds=1.0, wall_seconds=2.0
    )
ATTACKS["locked memory"] = Attack(
    """
def attack(place):
    area = ctypes.create_string_buffer(64 << 20)
    attempt("mlock", lambda: libc.mlock(area, 64 << 20) == 0)
    attempt("mlockall", lambda: libc.mlockall(3) == 0)
    return worked
"""
)
ATTACKS["many small files"] = Attack(
    """
def attack(place):
    made = 0
    for folder in ("/tmp", "/dev/shm"):
        try:
            for number in range(1 << 30):
                os.close(os.open(f"{folder}/{number}", os.O_CREAT | os.O_WRONLY))
                made += 1
        except OSError:
            pass
    return made > 100_000
""",
    False,
    ("timeout", "out_of_memory"),
    cpu_seconds=1.0,
)
ATTACKS["big and odd files"] = Attack(
    """
def attack(place):
    for folder in ("/tmp", "/dev/shm", os.getcwd()):
        def sparse():
            with open(folder + "/sparse", "wb") as file:
                os.truncate(file.fileno(), 1 << 40)
            return True
        attempt("sparse " + folder, sparse)
        def allocated():
            with open(folder + "/allocated", "wb") as file:
                os.posix_fallocate(file.fileno(), 0, 1 << 30)
            return True
        attempt("allocated " + folder, allocated)
    try:
        for number in range(2000):
            os.mkdir("/tmp/d"), os.chdir("/tmp/d")
            os.link("/tmp/sparse", f"/tmp/d/{number}")
    except OSError:
        pass
    return worked
"""
)

# ---- output --------------------------------------------------------------------------------------------------------

ATTACKS["endless output"] = Attack(
    """
def attack(place):
    while True:
        for fd in range(64):
            try: os.write(fd, b'{"value": []}' * 5000)
            except OSError: pass
        sys.stderr.write("x" * 65536)
""",
    reasons=("timeout", "output_limit", "crashed", "not_plain_value"),
    cpu_seconds=1.0,
)
ATTACKS["a huge value"] = Attack(
    "def attack(place):\n    return 'x' * (100 << 20)",
    reasons=("output_limit", "out_of_memory", "crashed", "timeout"),
)
ATTACKS["a value that grows when it is written"] = Attack(
    "def attack(place):\n    x = ['x' * 1000] * 100\n    for _ in range(20): x = [x] * 100\n    return x",
    reasons=("output_limit", "out_of_memory", "timeout", "not_plain_value"),
    cpu_seconds=1.0,
)
ATTACKS["a value without end"] = Attack(
    "def attack(place):\n    x = []\n    x.append(x)\n    return x",
    reasons=("not_plain_value", "output_limit", "raised", "crashed", "out_of_memory"),
)
ATTACKS["a deep value"] = Attack(
    "def attack(place):\n    x = []\n    for _ in range(200_000): x = [x]\n    return x",
    reasons=("not_plain_value", "output_limit", "raised", "crashed"),
)
ATTACKS["a huge integer"] = Attack(
    "def attack(place):\n    return 1 << 80_000_000",
    reasons=("output_limit", "not_plain_value", "out_of_memory", "timeout"),
)

# ---- CPU time, patience --------------------------------------------------------------------------------------------

_IGNORE = """
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
"""
for _name, _loop in {
    "a loop that ignores signals": _IGNORE
    + """
import resource
def attack(place):
    signal.setitimer(signal.ITIMER_PROF, 1e-3, 1e-3)
    while True:
        try: resource.setrlimit(resource.RLIMIT_CPU, (-1, -1))
        except (OSError, ValueError): pass
""",
    "a regular expression": "import re\ndef attack(place):\n    re.match('(a+)+$', 'a' * 60 + 'b')",
    "many processes": _IGNORE
    + "def attack(place):\n    for _ in range(6): child(lambda: busy(99))\n    time.sleep(60)",
    "many threads": """
import hashlib, threading
def attack(place):
    work = bytes(1 << 20)
    def run():
        while True: hashlib.sha256(work)  # without the lock of the interpreter
    many = [threading.Thread(target=run) for _ in range(6)]
    for one in many: one.start()
    for one in many: one.join()
""",
    "a relay of processes": "def attack(place):\n    while True:\n        busy(0.3)\n        if os.fork(): os._exit(0)",
    "a relay below the program": """
def attack(place):
    def relay():
        while True:
            busy(0.3)
            os.setsid() if os.getpgid(0) != os.getpid() else None
            if os.fork(): os._exit(0)
    child(relay)
    time.sleep(60)
""",
}.items():
    ATTACKS[f"CPU: {_name}"] = Attack(
        _loop,
        reasons=("timeout", "crashed", "out_of_memory"),
        cpu_seconds=1.0,
        wall_seconds=12.0,
        memory_bytes=1 << 30,
    )
for _name, _wait in {
    "sleep": "time.sleep(1e6)",
    "stop": "os.kill(os.getpid(), signal.SIGSTOP)",
    "stop the driver too": "[call(62, pid, 19) for pid in (os.getppid(), 2, -1, os.getpid())]",
    "read": "os.read(os.pipe()[0], 1)",
    "closed descriptors and a sleep": "os.closerange(0, 1024), time.sleep(1e6)",
    "a child keeps the descriptors": "child(lambda: time.sleep(1e6)), os._exit(0)",
}.items():
    ATTACKS[f"waiting: {_name}"] = Attack(
        _IGNORE + f"def attack(place):\n    {_wait}\n    return ['did not wait']",
        reasons=("timeout", "crashed"),
        cpu_seconds=0.5,
        wall_seconds=1.0,
    )
ATTACKS["daemons"] = Attack(
    _IGNORE
    + """
def attack(place):
    def daemon():
        os.setsid()
        libc.prctl(1, 0, 0, 0, 0), libc.prctl(36, 1, 0, 0, 0)  # no signal when the parent dies; takes orphans
        if os.fork() == 0:
            os.setpgid(0, 0)
            os.closerange(0, 1024)
            time.sleep(60)
        time.sleep(60)
    for _ in range(3):
        child(daemon)
    time.sleep(0.1)
    return []

def solve(place):
    if place:
        return attack(place)
    end = time.monotonic() + 1  # the dead need a moment to be buried
    seen = range(3)
    while len(seen) > 2 and time.monotonic() < end:
        seen = [pid for pid in range(2, 400) if pid not in (os.getpid(), os.getppid()) and call(62, pid, 0) == 0]
    return f"others: {seen}" if len(seen) > 2 else "still here"
"""
)
ATTACKS["clocks"] = Attack(
    """
import resource
for name in ("time", "perf_counter", "process_time", "monotonic", "thread_time"):
    setattr(time, name, lambda: 0.0)
resource.getrusage = os.times = os.wait4 = lambda *a: (0,) * 16
def attack(place):
    attempt("set the clock", lambda: time.clock_settime(0, 0) is None)
    return sum(i % 7 for i in range(5_000_000)) * 0 or worked
"""
)

# ---- in C++: what the compiler reads, and what is not Python ------------------------------------------------------------

CPP_HEAD = "#include <bits/stdc++.h>\n#include <unistd.h>\n#include <fcntl.h>\n#include <signal.h>\n#include <sys/socket.h>\n"
CPP = {  # program → what it may print at most ("" where it must not even compile)
    "include a secret": '#include "SECRET"\nint main() { puts("compiled"); }',
    "include without end": '#include "/dev/zero"\nint main() { puts("compiled"); }',
    "assemble a secret": CPP_HEAD
    + 'asm(".globl s\\ns: .incbin \\"SECRET\\"\\n");\nextern char s[];\nint main() { printf("read %.9s", s); }',
    "templates without end": "template <int N> struct A { typename A<N + 1>::T x; typename A<N * 2 + 1>::T y; };\nA<0> a;\nint main() {}",
    "a huge program file": "char a[1u << 31] = {1};\nint main() { return a[0] - 1; }",
    "everything at once": CPP_HEAD
    + """
int main() {
    char text[9];
    for (const char* path : {"SECRET", "/etc/passwd", "/proc/self/environ", "/proc/self/maps", "/proc/1/environ"})
        if (int fd = open(path, O_RDONLY); fd >= 0 && read(fd, text, 9) > 0) printf("read %s\\n", path);
    for (const char* path : {"/etc/MARK", "/usr/MARK", "/var/tmp/MARK", "/dev/MARK", "/MARK"})
        if (open(path, O_CREAT | O_WRONLY, 0666) >= 0) printf("wrote %s\\n", path);
    for (int family : {2, 10, 16, 17}) if (socket(family, SOCK_STREAM, 0) >= 0 || socket(family, SOCK_RAW, 0) >= 0) printf("socket %d\\n", family);
    for (int fd = 3; fd < 1024; fd++) if (fcntl(fd, F_GETFD) >= 0) printf("descriptor %d\\n", fd);
    int children = 0;
    while (children < 200) { int pid = fork(); if (pid < 0) break; if (!pid) { setsid(); for (;;) sleep(9); } children++; }
    if (children >= 100) puts("fork bomb");
    void* block = nullptr;
    std::size_t total = 0;
    while ((block = malloc(1 << 24)) && total < 4ull << 30) memset(block, 1, 1 << 24), total += 1 << 24;
    if (total > 2ull << 30) puts("memory");
    fflush(stdout);
}
""",
}
