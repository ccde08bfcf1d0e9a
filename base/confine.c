/* SPDX-License-Identifier: Apache-2.0 */
/* confine - see confine.h. */
#include "base/confine.h"

#include <assert.h>
#include <stddef.h>

static bool (*confine_how)(enum confine_kind kind);
static __thread enum confine_kind confine_mine;

void confine_by(bool (*how)(enum confine_kind kind))
{
	__atomic_store_n(&confine_how, how, __ATOMIC_RELEASE);
}

void confine(enum confine_kind kind)
{
	bool (*how)(enum confine_kind) = __atomic_load_n(&confine_how, __ATOMIC_ACQUIRE);
	enum confine_kind was = confine_mine;

	assert(kind > CONFINE_NONE && kind < CONFINE_KINDS);
	if (!how || was == kind)
		return;
	/* Before: what @how does wrong is told by this name. */
	confine_mine = kind;
	if (!how(kind))
		confine_mine = was;
}

enum confine_kind confine_kind(void)
{
	return confine_mine;
}

const char *confine_name(enum confine_kind kind)
{
	static const char *const name[CONFINE_KINDS] = {
		[CONFINE_NONE] = "new",
		[CONFINE_MAIN] = "main",
		[CONFINE_VCPU] = "vcpu",
		[CONFINE_DEVICE] = "device",
		[CONFINE_GATE] = "gate",
		[CONFINE_ENGINE] = "engine",
		[CONFINE_SEND] = "send",
		[CONFINE_RECEIVE] = "receive",
		[CONFINE_BROKER] = "broker",
		[CONFINE_PORTER] = "porter",
		[CONFINE_KEEPER] = "keeper",
		[CONFINE_USHER] = "usher",
		[CONFINE_VIEWER] = "viewer",
	};

	return (unsigned int)kind < CONFINE_KINDS ? name[kind] : "?";
}
