/* SPDX-License-Identifier: Apache-2.0 */
/* op - what an operator can order. What belongs to each is in struct ha_command (core.h). */
#ifndef DROVER_HA_CORE_RECORD_OP_H
#define DROVER_HA_CORE_RECORD_OP_H

enum ha_op {
	HA_OP_ADD,          /* domain, conf, claims, group, ha, max_restart; started: also start it, node: there;
			    * refused as a whole when it could not be */
	HA_OP_REMOVE,       /* domain; refused unless it is stopped */
	HA_OP_START,        /* domain; node: on this host (0 = the core chooses) */
	HA_OP_STOP,         /* domain; force */
	HA_OP_MIGRATE,      /* domain; node: to this host (0 = the core chooses); on: a dry run, it stays where it is */
	HA_OP_CANCEL,       /* domain: drop a migration that was not granted yet */
	HA_OP_HA_ON,        /* domain, group, max_restart: protect it */
	HA_OP_HA_OFF,       /* domain: no longer protect it */
	HA_OP_CLEAR,        /* domain: forget failures, try again at once */
	HA_OP_GROUP_SET,    /* group, hosts[], restricted */
	HA_OP_GROUP_REMOVE, /* group; refused while a domain uses it */
	HA_OP_FENCE,        /* node: fence it although it may run nothing; refused for a member of the view */
	HA_OP_CONFIRM,      /* node: a human says that this host is off (proof of death) */
	HA_OP_MAINTENANCE,  /* node, on: place nothing there and move away what runs, one by one */
	HA_OP_PAUSE,        /* domain, on: its VMM stands still, or goes on; only while it runs */
	HA_OPS
};

/* Who may order what: each includes those before it. */
enum ha_access {
	HA_ACCESS_VIEWER,   /* nothing */
	HA_ACCESS_OPERATOR, /* what domains do: start, stop, migrate, pause, clear */
	HA_ACCESS_ADMIN,    /* which domains and groups there are, what is protected, and hosts */
	HA_ACCESSES
};

/** ha_op_str() - "start", as in history */
const char *ha_op_str(enum ha_op op);
/** ha_op_access() - the least that @op takes */
enum ha_access ha_op_access(enum ha_op op);
/** ha_access_str() - "operator" */
const char *ha_access_str(enum ha_access a);

#endif
