/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_process - starting a drover-hv and watching that it lives (for vmm.c).
 */
#ifndef DROVER_HA_VMM_VMM_PROCESS_H
#define DROVER_HA_VMM_VMM_PROCESS_H

#include "ha/vmm/vmm.h"

/** vmm_process_spawn() - fork and exec in an own session with @life open; @pid is our child */
int vmm_process_spawn(const struct vmm_spawn *s, int life, pid_t *pid, struct err *e);

/** vmm_process_pidfd() - a descriptor that becomes readable when @pid ends, or -errno */
int vmm_process_pidfd(pid_t pid);

/** vmm_process_reap() - exit status, 128 + signal, or -1 when it is not our child */
int vmm_process_reap(int pidfd);

/** vmm_process_kill() - SIGKILL, by its pidfd */
void vmm_process_kill(int pidfd);

#endif
