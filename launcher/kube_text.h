/* What Kubernetes says, made into a part of a sentence. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* On one line, runs of white space and control characters as one space, without a full stop at the
 * end; what does not fit is cut at a character and marked with "...". */
void kube_text_clean(const char *text, char *out, size_t size);

/* The registry's own sentence in what the kubelet says of a pull. */
void kube_text_pull(const char *message, char *out, size_t size);
/* May a pull that fails with it get better by itself? image: its name, which says nothing. */
bool kube_text_pull_may_pass(const char *message, const char *image);
/* "rpc error: code = X desc = y": y. A part of message. */
const char *kube_text_after_rpc(const char *message);
/* Of what mount printed, or the kubelet's own words. */
void kube_text_mount(const char *message, char *out, size_t size);
/* Why a command could not be executed, without the layers that passed it on. */
void kube_text_run(const char *message, char *out, size_t size);
/* The scheduler's sentence without what it says about preemption. */
void kube_text_schedule(const char *message, char *out, size_t size);
