/* SPDX-License-Identifier: Apache-2.0 */
/* child - a forked process that does one thing for its parent, and holds nothing else of it. */
#ifndef DROVER_BASE_CHILD_H
#define DROVER_BASE_CHILD_H

/**
 * child_keep_only() - in the child: be called @name, and close everything but @sock
 * A lock or a pipe of the parent's ends with the parent then.  0, 1 and 2 are /dev/null unless @sock is one of
 * them, so that nobody's descriptor gets a number that libraries write to.
 */
void child_keep_only(const char *name, int sock);

#endif
