/* The home of a local kernel, made ready before the kernel is started. */
#pragma once

#include "base/error.h"
#include "launcher/launch.h"

/* Nothing is done without a home. By a process of its own, so that a file server that hangs costs
 * the home's deadline. The error's cause is HomeFailed. Before there are other threads. */
int local_home_prepare(const struct launch *launch, struct error *err);
