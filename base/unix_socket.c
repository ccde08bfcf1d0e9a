/* SPDX-License-Identifier: Apache-2.0 */
/* unix_socket - see unix_socket.h. */
#include "base/unix_socket.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NAP_MS 10 /* short for whoever waits for our caller, long for a processor */

/* @path as an address. */
static int address_of(const char *path, struct sockaddr_un *sa, struct err *e)
{
	size_t len = strlen(path);

	if (!len || len > UNIX_SOCKET_PATH_MAX)
		return err_set(e, -EINVAL, "%s: the path of a socket has 1 to %u bytes", path, UNIX_SOCKET_PATH_MAX);
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	memcpy(sa->sun_path, path, len + 1);
	return 0;
}

/* #syscalls:porter socket(0=AF_UNIX) */
static int new_socket(struct err *e)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_errno(e, "cannot make a socket");
	return fd;
}

/*
 * Kept open by whoever listens, and given up for as long as it takes to hang up on somebody for whom
 * there is no other.  An eventfd: it is made without a path, and its end frees a place in the kernel's table too.
 */
static struct {
	pthread_mutex_t lock;
	int fd;
} spare = { PTHREAD_MUTEX_INITIALIZER, -1 };

/* #syscalls:main,viewer eventfd2 close */
static void keep_spare(void)
{
	if (spare.fd < 0)
		spare.fd = eventfd(0, EFD_CLOEXEC);
}

static void hang_up_on_one(int fd)
{
	int one;

	pthread_mutex_lock(&spare.lock);
	if (spare.fd >= 0)
		close(spare.fd);
	spare.fd = -1;
	/* cppcheck-suppress nullPointer ; accept(2) takes it for "who does not matter" */
	one = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (one >= 0)
		close(one);
	else
		poll(NULL, 0, NAP_MS); /* somebody else was faster, or there is less room than we have taken */
	keep_spare();
	pthread_mutex_unlock(&spare.lock);
}

/* #syscalls:main,viewer accept4 */
int unix_socket_accept(int fd)
{
	/* cppcheck-suppress nullPointer ; accept(2) takes it for "who does not matter" */
	int one = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), code = one < 0 ? -errno : one;

	if (code == -EMFILE || code == -ENFILE)
		hang_up_on_one(fd);
	return code;
}

/* #syscalls:porter connect */
static int connect_to(const struct sockaddr_un *sa, struct err *e)
{
	int fd = new_socket(e), rc;

	if (fd < 0)
		return fd;
	if (!connect(fd, (const struct sockaddr *)sa, sizeof(*sa)))
		return fd;
	rc = err_errno(e, "cannot connect to %s", sa->sun_path);
	close(fd);
	return rc;
}

_Static_assert(UNIX_SOCKET_PATH_MAX == sizeof(((struct sockaddr_un *)0)->sun_path) - 1, "unix(7)");

int unix_socket_connect(const char *path, struct err *e)
{
	struct sockaddr_un sa;
	int rc = address_of(path, &sa, e);

	return rc ? rc : connect_to(&sa, e);
}

/* Nothing is at the address, or nothing any more. */
static int make_room(const struct sockaddr_un *sa, const char *who, struct err *e)
{
	struct stat st;
	int fd;

	if (lstat(sa->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_errno(e, "%s", sa->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, -EBUSY, "%s: exists and is not a socket", sa->sun_path);
	fd = connect_to(sa, NULL);
	if (fd >= 0)
		close(fd);
	if (fd != -ECONNREFUSED)
		return err_set(e, -EBUSY, "%s: another %s listens there", sa->sun_path, who);
	if (unlink(sa->sun_path) < 0)
		return err_errno(e, "%s", sa->sun_path);
	return 0;
}

int unix_socket_listen(const char *path, mode_t mode, int backlog, const char *who, struct err *e)
{
	struct sockaddr_un sa;
	mode_t mask;
	int fd, rc;

	rc = address_of(path, &sa, e);
	if (rc)
		return rc;
	rc = make_room(&sa, who, e);
	if (rc)
		return rc;
	fd = new_socket(e);
	if (fd < 0)
		return fd;
	mask = umask(~mode & 0777);
	rc = bind(fd, (const struct sockaddr *)&sa, sizeof(sa));
	umask(mask);
	if (!rc && !listen(fd, backlog)) {
		pthread_mutex_lock(&spare.lock);
		keep_spare();
		pthread_mutex_unlock(&spare.lock);
		return fd;
	}
	rc = err_errno(e, "cannot listen at %s", path);
	close(fd);
	return rc;
}
