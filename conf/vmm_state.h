/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_state - what a VMM is doing: one vocabulary for the VMM, which says it on its control
 * socket (docs/control.md), and for droverd, which reads it there.
 */
#ifndef DROVER_CONF_VMM_STATE_H
#define DROVER_CONF_VMM_STATE_H

enum vmm_state {
	VMM_STARTING, /* droverd's word: the process is there and has not said hello */
	VMM_INCOMING, /* waits for a migration */
	VMM_RUNNING,
	VMM_PAUSED,
	VMM_GATED,   /* stands still until its host's lease is valid again (rule G) */
	VMM_GRANTED, /* migration source after GRANT: must ask before it may run (rule H) */
	VMM_GONE,    /* handed over; the process ends by itself */
	VMM_STOPPED, /* powered off, reset with --no-reboot, crashed */
	VMM_EXITED,  /* droverd's word: the process has ended */
	VMM_STATES
};

/** vmm_state_str() - its word in docs/control.md; never NULL */
const char *vmm_state_str(enum vmm_state s);

/**
 * vmm_state_parse() - a state that a VMM can say of itself
 * @text: may be NULL
 * Return: 0; -EINVAL for any other text, droverd's own words among them, and *@out is not touched.
 */
int vmm_state_parse(const char *text, enum vmm_state *out);

#endif
