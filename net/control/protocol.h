/* SPDX-License-Identifier: Apache-2.0 */
/* protocol - what both ends of a control socket hold to (docs/control.md). */
#ifndef DROVER_NET_CONTROL_PROTOCOL_H
#define DROVER_NET_CONTROL_PROTOCOL_H

#define CTL_PROTOCOL 1           /* in the greeting */
#define CTL_LINE_MAX (64u << 10) /* bytes of one object, with its newline */

#endif
