/* SPDX-License-Identifier: Apache-2.0 */
/* unix_path - see unix_path.h. */
#include "base/unix_path.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int unix_path_free(const struct sockaddr_un *sa, const char *who, struct err *e)
{
	struct stat st;
	int fd, why;

	if (lstat(sa->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_errno(e, "%s", sa->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, -EBUSY, "%s: exists and is not a socket", sa->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, "cannot make a socket");
	why = connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 ? errno : 0;
	close(fd);
	if (why != ECONNREFUSED)
		return err_set(e, -EBUSY, "%s: another %s listens there", sa->sun_path, who);
	if (unlink(sa->sun_path) < 0)
		return err_errno(e, "%s", sa->sun_path);
	return 0;
}
