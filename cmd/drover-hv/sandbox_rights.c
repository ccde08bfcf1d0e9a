/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox_rights - no capabilities, a user of its own, no files; see sandbox.h.
 *
 * All sets of capabilities(7) are emptied: the bounding set at once, before there are threads (what has capabilities
 * keeps them, but no program it might execute would have any); the rest when the sandbox is closed.  By system calls
 * of its own, where glibc has none or would do it for all threads.
 *
 * The user: whoever is root becomes SANDBOX_UID_FIRST and a number that the domain's uuid gives, a range of 2^27 that
 * systemd's "Users, Groups, UIDs and GIDs on systemd Systems" leaves to nobody.  Two of a hundred domains on one host
 * have the same user once in some 27,000 hosts; they are then kept apart by the rest of the sandbox.
 */
#include "cmd/drover-hv/sandbox.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SANDBOX_UID_FIRST 0x70000000u /* 1879048192 */
#define SANDBOX_UID_MASK 0x07ffffffu

/* Rules for what is newer than the headers; Linux Documentation/userspace-api/landlock.rst has what came when. */
#define FS_ABI1 0x1fffull
#define FS_REFER (1ull << 13)     /* ABI 2 */
#define FS_TRUNCATE (1ull << 14)  /* ABI 3 */
#define FS_IOCTL_DEV (1ull << 15) /* ABI 5 */
#define NET_ALL 3ull              /* ABI 4: TCP, bind and connect */
#define SCOPE_ABSTRACT 1ull       /* ABI 6: abstract UNIX sockets. Not signals: threads of one process send them */

struct all_rules {
	uint64_t fs, net, scoped;
};

static int ruleset = -1; /* without a single exception; stays open for threads that come later */

/* --- capabilities --- */

/* The kernel says which is its last one by refusing the next. */
void sandbox_rights_bound(void)
{
	for (unsigned long cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* who is not root has nothing that could come back */
}

static int set_caps(const struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

/* #syscalls:main prctl(0=PR_CAP_AMBIENT) capset */
int sandbox_rights_drop(void)
{
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
	int ret = set_caps(none);

	if (ret)
		return ret;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return 0;
}

int sandbox_rights_keep_links(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3], links[_LINUX_CAPABILITY_U32S_3] = { 0 };
	int ret;

	if (syscall(SYS_capget, &head, have))
		return -errno;
	links[0].effective = links[0].permitted = have[0].permitted & 1u << CAP_NET_ADMIN;
	ret = set_caps(links);
	if (ret)
		return ret;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

/* What it is opened with is what counts: with CAP_SYS_ADMIN it would show where pages are in the host's memory. */
int sandbox_open_pagemap(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3], quiet[_LINUX_CAPABILITY_U32S_3];
	int fd;

	if (syscall(SYS_capget, &head, have))
		return -errno;
	memcpy(quiet, have, sizeof(quiet));
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		quiet[i].effective = 0;
	if (set_caps(quiet))
		return -errno;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	set_caps(have);
	return fd;
}

/* --- the user --- */

void sandbox_rights_leave(const uint8_t uuid[16])
{
	uint32_t w[4];
	uid_t uid;
	int dumps;

	memcpy(w, uuid, sizeof(w));
	uid = SANDBOX_UID_FIRST + ((w[0] ^ w[1] ^ w[2] ^ w[3]) & SANDBOX_UID_MASK);

	if (geteuid())
		return;
	dumps = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	/* glibc's, which do it for all threads; the capabilities in use go with it. */
	if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		log_warn("sandbox: no user of its own, uid %u: %s", (unsigned int)uid, strerror(errno));
	/* As before: whoever looks for the reason of a crash needs its core, and there is no other process of this user. */
	if (dumps == 1)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

/* --- files --- */

static uint64_t fs_rules(long abi)
{
	return FS_ABI1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) | (abi >= 5 ? FS_IOCTL_DEV : 0);
}

int sandbox_files_prepare(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct all_rules r = { .fs = fs_rules(abi), .net = abi >= 4 ? NET_ALL : 0, .scoped = abi >= 6 ? SCOPE_ABSTRACT : 0 };
	/* An older kernel takes the longer struct when what it does not know is 0. */
	size_t size = sizeof(r);

	if (abi < 1)
		return -errno;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &r, size, 0);
	return ruleset < 0 ? -errno : 0;
}

/* #syscalls:main landlock_restrict_self */
int sandbox_files_close(void)
{
	return ruleset < 0 || !syscall(SYS_landlock_restrict_self, ruleset, 0) ? 0 : -errno;
}
