/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_log - the files that VMMs write their lines to, kept small.
 *
 * A VMM holds its log open for appending, for as long as it lives, also while no
 * droverd runs.  So a log that has grown is copied to NAME.log.1 and emptied in its
 * place (as logrotate's copytruncate does); a line written in between is lost.
 * What a guest can cause in lines is bounded by the VMM itself (base/log_limit.h), so
 * between two looks a log cannot grow by much.
 */
#ifndef DROVER_HA_VMM_VMM_LOG_H
#define DROVER_HA_VMM_VMM_LOG_H

#define VMM_LOG_MAX (1u << 20) /* bytes; one older file of at most this stays beside it */
#define VMM_LOG_LOOK_MS 60000u

/**
 * vmm_log_trim() - if @path is longer than VMM_LOG_MAX, keep its end as @path.1 and empty it
 * On a full file system it is emptied without a copy: room counts for more than old lines.
 */
void vmm_log_trim(const char *path);

/** vmm_log_trim_all() - each *.log of a directory */
void vmm_log_trim_all(const char *dir);

#endif
