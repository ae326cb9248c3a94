/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file of a dump. See dump_file.h.
 *
 * The buffer begins at the border of two records, but for a pipe that took a part of one: pipes are never cut. While
 * `turning` is set, what lies behind `boundary` waits for the next file: main opens that, and calls into the loop to
 * change over.
 */
#include "net/dump_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/open.h"
#include "net/client.h"

#define BUFFER	  (1 * MIB)
#define FLUSH_AT  (256 * KIB)
#define FLUSH_NS  (200 * NSEC_PER_MSEC)
#define READER_MS 1000 /* that a reader of a pipe may do nothing for, at the end */

static struct list all = LIST_INIT(all);

/* ---- files; main thread ---- */

static void file_name(const struct dump_file *f, uint32_t index, char *buf, size_t size)
{
	if (index)
		snprintf(buf, size, "%s.%u", f->path, index);
	else
		snprintf(buf, size, "%s", f->path);
}

static const struct dump_file *find_user(const struct dump_file *f, const struct stat *st)
{
	const struct dump_file *other;

	list_for_each(other, &all, node) {
		if (other != f && other->regular && other->dev == st->st_dev && other->ino == st->st_ino)
			return other;
	}
	return NULL;
}

/* Is it what a dump can go to? What was in it is not touched before that is sure. */
static int check_target(const struct dump_file *f, int fd, const struct stat *st, struct error *err)
{
	const struct dump_file *user = S_ISREG(st->st_mode) ? find_user(f, st) : NULL;

	if (user)
		return fail(err, EBUSY, "another dump writes to this file already (%s)", user->path);
	if (f->fd >= 0 && f->dev == st->st_dev && f->ino == st->st_ino)
		return fail(err, EBUSY, "this dump is writing to this file itself");
	if (f->limit && !S_ISREG(st->st_mode))
		return fail(err, EINVAL, "is no regular file; size= and count= are for files only");
	if (S_ISREG(st->st_mode) && ftruncate(fd, 0) < 0)
		return fail(err, errno, "cannot be emptied: %s", errno_str(errno));
	return 0;
}

/*
 * Descriptor, or -errno. *made: it was not there. The first name is the user's, whatever it leads to; the others we
 * make up, and who can write to the folder must not choose by a link what they write over.
 */
static int open_target(struct dump_file *f, uint32_t index, struct stat *st, bool *made, struct error *err)
{
	char path[PATH_MAX];
	struct open_request r = {
		.kind = OPEN_FILE, .nonblock = true, .path = path, .flags = O_WRONLY | O_CREAT | O_EXCL, .mode = 0644
	};
	int fd, ret;

	file_name(f, index, path, sizeof(path));
	fd = open_request(&r, err);
	*made = fd >= 0;
	r.flags = O_WRONLY | O_CREAT | (index ? O_NOFOLLOW : 0);
	if (fd < 0)
		fd = open_request(&r, err);
	if (fd == -ELOOP && index)
		return fail(err, ELOOP, "is a symbolic link; remove it");
	if (fd == -ENXIO)
		return fail(err, ENXIO, "nobody reads from this pipe; start the reader first");
	if (fd < 0)
		return fd;
	ret = fstat(fd, st) < 0 ? fail(err, errno, "%s", errno_str(errno)) : check_target(f, fd, st, err);
	if (ret)
		close(fd);
	return ret ?: fd;
}

static void adopt(struct dump_file *f, int fd, const struct stat *st)
{
	f->fd = fd;
	f->regular = S_ISREG(st->st_mode);
	f->dev = st->st_dev;
	f->ino = st->st_ino;
	f->length = 0;
}

/* ---- writing ---- */

static void stop(struct dump_file *f, const char *why)
{
	char path[PATH_MAX];

	file_name(f, f->index, path, sizeof(path));
	log_warn("%s: %s; the dump stops here, traffic goes on", path, why);
	close(f->fd);
	f->fd = -1;
	f->fill = 0;
	f->turning = false;
	timer_cancel(&f->timer);
}

static void shift(struct dump_file *f, size_t n)
{
	memmove(f->buf, f->buf + n, f->fill - n);
	f->fill -= n;
	if (f->turning)
		f->boundary -= n;
}

/* The file holds `part` bytes of the buffer, and no more will go in: it is to end behind a whole record. */
static void failed(struct dump_file *f, size_t part, int code)
{
	if (f->regular && ftruncate(f->fd, (off_t)(f->length + f->format->whole(f->buf, part))) < 0)
		log_warn("%s: cannot be cut behind its last whole record: %s", f->path, errno_str(errno));
	stop(f, errno_str(code));
}

/* Write the first n bytes of the buffer. 0; -EAGAIN: some are left; else it has stopped. */
static int write_out(struct dump_file *f, size_t n)
{
	size_t done = 0;
	ssize_t r = 0;

	while (done < n) {
		r = write(f->fd, f->buf + done, n - done);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	if (done < n && r < 0 && errno != EAGAIN) {
		r = -errno;
		failed(f, done, (int)-r);
		return (int)r;
	}
	f->length += done;
	shift(f, done);
	return done < n ? -EAGAIN : 0;
}

void dump_file_flush(struct dump_file *f)
{
	if (f->fd < 0)
		return;
	timer_cancel(&f->timer);
	if (write_out(f, f->turning ? f->boundary : f->fill) == -EAGAIN)
		timer_arm(&f->timer, clock_now(CLOCK_HOST_NS) + FLUSH_NS);
}

static void flush_timer(struct timer *t)
{
	dump_file_flush(container_of(t, struct dump_file, timer));
}

/* ---- the next file ---- */

static void begin_file(struct dump_file *f, int fd, const struct stat *st, uint32_t index)
{
	uint8_t *head = malloc(f->format->head_max);
	size_t n = head ? f->format->head(f, head) : 0;

	adopt(f, fd, st);
	f->index = index;
	if (!head || write(fd, head, n) != (ssize_t)n)
		stop(f, head ? errno_str(errno) : "out of memory");
	else
		f->length = n;
	free(head);
}

/* Who opens files: main; in a program of one loop, that one. */
static struct loop *opener(const struct dump_file *f)
{
	return net_main_loop() ? net_main_loop() : f->loop;
}

static void write_tail(struct dump_file *f)
{
	uint8_t *tail = malloc(f->format->tail_max + 1);
	size_t n = tail ? f->format->tail(f, tail) : 0;

	/* It is worth no warning: what it says is in describe() too. */
	if (n && write(f->fd, tail, n) != (ssize_t)n && f->regular && ftruncate(f->fd, (off_t)f->length) < 0)
		log_warn("%s: cannot be cut behind its last whole record: %s", f->path, errno_str(errno));
	free(tail);
}

/* What lies in the buffer may be more than fits into this file. */
static void limit_file(struct dump_file *f)
{
	uint64_t room = f->limit - MIN(f->limit, f->length + f->format->tail_max);

	if (!f->limit || f->fill <= room)
		return;
	f->boundary = f->format->whole(f->buf, (size_t)room);
	f->turning = true;
	loop_post(opener(f), &f->post);
}

struct change {
	struct dump_file *f;
	int fd; /* -1: there is none, `why` says why not */
	struct stat st;
	uint32_t index;
	struct error why;
};

/* On the loop: the rest of the old file, then the new one. */
static void change_over(void *arg)
{
	struct change *ch = arg;
	struct dump_file *f = ch->f;

	if (f->fd >= 0 && f->turning && write_out(f, f->boundary) == 0) {
		f->turning = false;
		if (ch->fd < 0) {
			stop(f, ch->why.msg);
			return;
		}
		write_tail(f);
		close(f->fd);
		begin_file(f, ch->fd, &ch->st, ch->index);
		ch->fd = -1;
		if (f->fd < 0)
			return;
		limit_file(f);
		dump_file_flush(f);
	}
}

static void open_next(struct dump_file *f)
{
	struct change ch = { .f = f, .index = f->index + 1 };
	char path[PATH_MAX];
	bool made;

	if (f->count && ch.index == f->count)
		ch.index = 0;
	ch.fd = open_target(f, ch.index, &ch.st, &made, &ch.why);
	file_name(f, ch.index, path, sizeof(path));
	if (ch.fd < 0)
		error_prefix(&ch.why, "cannot go on in %.200s: ", path);
	loop_call(f->loop, change_over, &ch);
	if (ch.fd >= 0)
		close(ch.fd);
}

static void open_next_post(struct post *p)
{
	open_next(container_of(p, struct dump_file, post));
}

/* The record that is to come is one too many for this file. */
static void end_file(struct dump_file *f)
{
	f->boundary = f->fill;
	f->turning = true;
	loop_post(opener(f), &f->post);
}

/* ---- records ---- */

static bool has_room(const struct dump_file *f, size_t n)
{
	return f->fill + n <= BUFFER;
}

uint8_t *dump_file_room(struct dump_file *f, size_t n)
{
	if (f->fd >= 0 && !has_room(f, n))
		dump_file_flush(f);
	if (f->fd < 0 || !has_room(f, n)) {
		counter_add(&f->missed, 1);
		return NULL;
	}
	if (f->limit && !f->turning && f->length + f->fill + n + f->format->tail_max > f->limit)
		end_file(f);
	return f->buf + f->fill;
}

void dump_file_add(struct dump_file *f, size_t n)
{
	counter_add(&f->records, 1);
	f->fill += n;
	if (f->fill >= FLUSH_AT && f->regular)
		dump_file_flush(f);
	else if (!timer_armed(&f->timer))
		timer_arm(&f->timer, clock_now(CLOCK_HOST_NS) + FLUSH_NS);
}

/* ---- life; main thread ---- */

/* The program is up: what happens from now on is worth a file, even an empty one. */
static void loop_runs(struct post *p)
{
	container_of(p, struct dump_file, alive)->used = true;
}

static int write_head(struct dump_file *f, struct error *err)
{
	size_t n = f->format->head(f, f->buf);
	ssize_t r = write(f->fd, f->buf, n);

	if (r != (ssize_t)n)
		return fail(err, r < 0 ? errno : EIO, "cannot be written: %s", errno_str(r < 0 ? errno : EIO));
	f->length = n;
	return 0;
}

static void remove_file(const struct dump_file *f)
{
	if (f->made)
		unlink(f->path);
}

int dump_file_open(struct dump_file *f, struct error *err)
{
	struct stat st;
	int fd, ret;

	list_init(&f->node);
	timer_init(&f->timer, f->loop, CLOCK_HOST_NS, flush_timer);
	post_init(&f->post, open_next_post);
	post_init(&f->alive, loop_runs);
	f->index = 0;
	f->used = false;
	f->fill = 0;
	f->fd = -1;
	f->turning = false;
	if (strlen(f->path) > PATH_MAX - 16)
		return fail(err, ENAMETOOLONG, "this name is too long");
	f->buf = malloc(BUFFER);
	if (!f->buf)
		return fail(err, ENOMEM, "no memory");
	fd = open_target(f, 0, &st, &f->made, err);
	if (fd < 0) {
		free(f->buf);
		return fd;
	}
	adopt(f, fd, &st);
	ret = write_head(f, err);
	if (ret) {
		close(fd);
		remove_file(f);
		free(f->buf);
		return ret;
	}
	list_append(&all, &f->node);
	loop_post(f->loop, &f->alive);
	return 0;
}

static void flush_last(void *arg)
{
	struct dump_file *f = arg;

	dump_file_flush(f);
	timer_cancel(&f->timer);
	loop_unpost(f->loop, &f->alive);
}

/* A pipe may be full: its reader gets a while for what is left, as long as he reads. */
static void wait_for_reader(struct dump_file *f)
{
	struct pollfd p = { .fd = f->fd, .events = POLLOUT };

	while (f->fd >= 0 && f->fill && poll(&p, 1, READER_MS) > 0 && !(p.revents & (POLLERR | POLLNVAL))) {
		if (write_out(f, f->fill) != -EAGAIN)
			break;
	}
}

void dump_file_close(struct dump_file *f)
{
	loop_unpost(opener(f), &f->post);
	while (f->fd >= 0 && f->turning) {
		open_next(f);
		loop_unpost(opener(f), &f->post);
	}
	loop_call(f->loop, flush_last, f);
	wait_for_reader(f);
	if (f->fd >= 0 && !f->fill)
		write_tail(f);
	if (f->fd >= 0)
		close(f->fd);
	if (!f->used)
		remove_file(f);
	list_remove(&f->node);
	free(f->buf);
	f->fd = -1;
}
