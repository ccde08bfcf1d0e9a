/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stdio_end - a program whose output did not arrive has failed.
 *
 * What printf() took is written when the buffer is full or at exit, where nobody looks any
 * more: on a full device the output is lost and the exit status says 0.
 */
#ifndef DROVER_BASE_STDIO_END_H
#define DROVER_BASE_STDIO_END_H

/**
 * stdio_begin() - first thing in main(): descriptors 0 to 2 exist
 * One that was closed ("drover list >&-") would be given to the next file or socket that is
 * opened, and the output would go there.  It is opened so that its use fails instead.
 */
void stdio_begin(void);

/**
 * stdio_end() - last thing in main(): write what is left of standard output
 * Return: @code; 1 when that was 0 and something was not written, after "program: standard output: why".
 */
int stdio_end(const char *program, int code);

#endif
