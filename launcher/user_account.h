/* The account of this machine that a kernel runs as (the setting run-as-owner). Names are looked up
 * by the C library, where nsswitch.conf says, and so perhaps by a directory service. */
#pragma once

#include "base/error.h"
#include "launcher/launch.h"

/* Looks the account of launch.json up, once, and puts into launch what follows of it: the user, the
 * HOME and the working directory that the kernel has unless homes are elsewhere (home-directory),
 * and USER, LOGNAME, SHELL. Nothing is done without an account. Takes up to USER_ACCOUNT_WAIT_MS.
 *
 * An account that no kernel may have is refused: root's, one below min_uid, a prohibited one, one
 * whose name is not what was asked for to the letter. Of the account's other groups, those that are
 * prohibited are left out. */
enum { USER_ACCOUNT_WAIT_MS = 10000 };
int user_account_apply(struct launch *launch, struct error *err);

/* From enter to leave the calling thread, and threads that it starts for good, may open and connect
 * to what the user may, and makes files as he would. Nothing without an account. When enter fails,
 * as where a user namespace lacks the ids, all is as before. */
int user_account_enter(const struct launch_user *user, struct error *err);
void user_account_leave(const struct launch_user *user);
