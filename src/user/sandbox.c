/* SPDX-License-Identifier: BSD-2-Clause */
/* Confinement of vwire-user: see sandbox.h. */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "user/control.h"
#include "user/filter.h"
#include "user/sandbox.h"

#define NOBODY 65534
#define DATA_LIMIT \
	(768 *     \
	 MIB) /* address space: libslirp reserves 256 KiB for each connection, of 2,048 at most, and uses what it needs */

/* <sys/mount.h> and <linux/mount.h> cannot both be included: the few calls are made directly. */

static int sys_mount(const char *what, const char *where, const char *type, unsigned long flags, const char *data)
{
	return (int)syscall(SYS_mount, what, where, type, flags, data);
}

static void has(struct sandbox *s, enum user_layer l)
{
	s->layers |= 1U << l;
}

static bool write_at(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/*
 * Root becomes nobody: what is left of the rights of root over files goes with the user id. The root of a container may
 * not be able to; it is not the host's root then.
 */
static void become_nobody(void)
{
	if (geteuid() != 0)
		return;
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
		control_log("stays root: %s", errno_str(errno));
}

/* A user namespace in which we are mapped to ourselves; in it we may make the others. */
static bool new_user_namespace(void)
{
	char uid[64], gid[64];
	int self;
	bool ok;

	snprintf(uid, sizeof(uid), "%u %u 1", geteuid(), geteuid());
	snprintf(gid, sizeof(gid), "%u %u 1", getegid(), getegid());
	if (unshare(CLONE_NEWUSER))
		return false;
	/* Changing the user made us unreadable for ourselves in /proc. */
	prctl(PR_SET_DUMPABLE, 1);
	self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ok = self >= 0 && write_at(self, "setgroups", "deny") && write_at(self, "gid_map", gid) &&
	     write_at(self, "uid_map", uid);
	if (self >= 0)
		close(self);
	prctl(PR_SET_DUMPABLE, 0);
	return ok;
}

/* A private, read-only view of the directory, not yet attached anywhere. */
static int open_view(const char *dir)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
					       MOUNT_ATTR_NOEXEC };
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (fd < 0)
		return -errno;
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr))) {
		int code = errno;

		close(fd);
		return -code;
	}
	return fd;
}

/* The directories of an absolute path, below the current directory. */
static bool make_path(const char *path)
{
	char part[PATH_MAX];

	for (const char *end = strchr(path + 1, '/');; end = strchr(end + 1, '/')) {
		size_t len = end ? (size_t)(end - path) : strlen(path);

		snprintf(part, sizeof(part), "%.*s", (int)len - 1, path + 1);
		if (mkdir(part, 0755) && errno != EEXIST)
			return false;
		if (!end)
			return true;
	}
}

/*
 * The current directory, a mount, becomes the root, and the old one goes. Where the old one cannot go (it is the
 * kernel's first root, an initramfs, or already a chroot), it is covered and left by chroot, which holds whoever has no
 * capability.
 */
static int enter_root(void)
{
	if (!syscall(SYS_pivot_root, ".", "."))
		return syscall(SYS_umount2, ".", 2 /* MNT_DETACH */) || chdir("/") ? -errno : 0;
	sys_mount(".", "/", NULL, MS_MOVE, NULL);
	return chroot(".") || chdir("/") ? -errno : 0;
}

/*
 * The tmpfs goes over /proc, which every system has and which nothing needs any more. The TFTP directory keeps its
 * path: libslirp knows it already.
 */
static int build_root(struct sandbox *s, int view)
{
	if (sys_mount("tmpfs", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		      "size=256k,nr_inodes=4096,mode=755") ||
	    chdir("/proc") || mkdir("etc", 0755))
		return -errno;
	s->resolv_fd = open("etc/resolv.conf", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (s->resolv_fd < 0)
		return -errno;
	if (view >= 0 &&
	    (!make_path(s->tftp) || syscall(SYS_move_mount, view, "", AT_FDCWD, s->tftp + 1, MOVE_MOUNT_F_EMPTY_PATH)))
		return -errno;
	return enter_root();
}

static int new_root(struct sandbox *s, struct error *err)
{
	int view = -1, rc;

	if (unshare(CLONE_NEWNS))
		return 0;
	if (sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 0;
	if (s->tftp) {
		view = open_view(s->tftp);
		if (view < 0)
			return fail(err, -view, "tftp=%s: %s", s->tftp, errno_str(-view));
	}
	rc = build_root(s, view);
	if (view >= 0)
		close(view);
	if (!rc) {
		has(s, USER_LAYER_MOUNTNS);
		return 0;
	}
	if (s->resolv_fd >= 0)
		close(s->resolv_fd);
	s->resolv_fd = -1;
	/* Half a root is worse than none: the TFTP directory and resolv.conf may be out of sight. */
	return fail(err, -rc, "cannot make a root directory of its own: %s", errno_str(-rc));
}

/* Whoever cannot read the directory now could not later; said at once and by name. */
static int check_tftp(const struct sandbox *s, struct error *err)
{
	if (!s->tftp || !faccessat(AT_FDCWD, s->tftp, R_OK | X_OK, AT_EACCESS))
		return 0;
	return fail(err, errno, "tftp=%s: %s (it is read as %s)", s->tftp, errno_str(errno),
		    geteuid() == NOBODY ? "the user nobody" : "the user who started vwire");
}

int sandbox_enter(struct sandbox *s, struct error *err)
{
	int rc;

	s->resolv_fd = -1;
	become_nobody();
	rc = check_tftp(s, err);
	if (rc)
		return rc;
	if (s->pidns)
		has(s, USER_LAYER_PIDNS);
	if (!new_user_namespace())
		return 0;
	has(s, USER_LAYER_USERNS);
	if (!unshare(CLONE_NEWIPC))
		has(s, USER_LAYER_IPCNS);
	return new_root(s, err);
}

/* A hard limit that is lower already stays. */
static bool limit(int what, rlim_t n)
{
	struct rlimit r;

	if (getrlimit(what, &r))
		return false;
	r.rlim_cur = r.rlim_max = MIN(n, r.rlim_max);
	return !setrlimit(what, &r);
}

static bool limit_descriptors(struct sandbox *s)
{
	struct rlimit r;

	if (!limit(RLIMIT_NOFILE, s->descriptors) || getrlimit(RLIMIT_NOFILE, &r))
		return false;
	s->descriptors = (unsigned)r.rlim_max;
	return true;
}

static bool set_limits(struct sandbox *s)
{
	return limit(RLIMIT_CORE, 0) && limit(RLIMIT_FSIZE, USER_RESOLV_MAX) && limit(RLIMIT_NPROC, 0) &&
	       limit_descriptors(s) && (SANITIZED || limit(RLIMIT_DATA, DATA_LIMIT));
}

int sandbox_lock(struct sandbox *s, struct error *err)
{
	int rc;

	/*
	 * vwire's standard error may be a terminal: who holds it can read what is typed there, and write to it
	 * anything.
	 */
	if (!SANITIZED)
		dup2(STDIN_FILENO, STDERR_FILENO);
	if (set_limits(s))
		has(s, USER_LAYER_RLIMITS);
	capng_clear(CAPNG_SELECT_BOTH);
	/* The bounding set can only be cleared by who has CAP_SETPCAP; without capabilities and execve it is idle. */
	if (!capng_apply(CAPNG_SELECT_BOTH) || !capng_apply(CAPNG_SELECT_CAPS))
		has(s, USER_LAYER_CAPS);
	/* Changes of rights cleared it. Who died before this is seen by the end of the control socket. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		has(s, USER_LAYER_NNP);
	rc = filter_load(s->socket_pairs);
	if (rc && rc != -EINVAL) /* a kernel without seccomp */
		return fail(err, -rc, "cannot load the system call filter: %s", errno_str(-rc));
	if (!rc)
		has(s, USER_LAYER_SECCOMP);
	return 0;
}
