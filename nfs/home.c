#include "nfs/home.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum {
    AGAIN_MS = 500,
    ROUNDS_MAX = 2 * HOME_COMPONENTS_MAX + 8, /* walks; somebody else may make and remove */
    MODE_MADE = 0700,
    ACCESS_WANTED = ACCESS4_READ | ACCESS4_LOOKUP | ACCESS4_MODIFY | ACCESS4_EXTEND,
};

struct home {
    struct nfs_connection *connection;
    struct home_target target;
    char *server, *export_path, *path;
    char owner[16], group[16];
    home_done *done;
    void *context;
    struct event *deadline, *again;
    int64_t deadline_ms;
    struct nfs_call *call;
    struct compound compound;
    struct compound_handle handle; /* of the directory */
    struct compound_attributes at; /* the same */
    int rounds;
    bool is_given; /* its owner was corrected */
    char probe[64];
    struct error trouble; /* what is waited for to pass */
};

static void walk(struct home *home);

void home_cancel(struct home *home) {
    if (home == NULL)
        return;
    nfs_call_cancel(home->call);
    event_free(home->deadline);
    event_free(home->again);
    free(home->server);
    free(home->export_path);
    free(home->path);
    free(home);
}

static void end(struct home *home, const struct error *err) {
    home_done *done = home->done;
    void *context = home->context;
    home_cancel(home);
    done(context, err);
}

/* --- sentences --- */

enum { WHOLE = HOME_COMPONENTS_MAX };

/* "/export/home/a" of "a/b" for one component. malloc'ed. */
static char *place_of(const struct home *home, size_t components) {
    const char *at = home->path;
    for (size_t i = 0; i < components && *at != '\0'; i++) {
        at += strspn(at, "/");
        at += strcspn(at, "/");
    }
    const char *between = strcmp(home->export_path, "/") == 0 ? "" : "/";
    return memory_printf("%s%s%.*s", home->export_path, components > 0 ? between : "",
                         (int)(at - home->path), home->path);
}

static void fail(struct home *home, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void fail(struct home *home, enum error_code code, const char *format, ...) {
    struct error err;
    char text[sizeof err.text];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    error_set(&err, code, "%s", text);
    end(home, &err);
}

static bool is_refusal(nfsstat4 status) {
    return status == NFS4ERR_ACCESS || status == NFS4ERR_PERM || status == NFS4ERR_WRONGSEC;
}

/* is_hidden: servers also show clients that they refuse nothing at all. */
static void fail_export(struct home *home, bool is_hidden, const char *said) {
    const char *ports = nfs_connection_is_unprivileged(home->connection)
                            ? ", also from ports above 1023, as the gateway may use no others: the "
                              "export option insecure (Ganesha: PrivilegedPort = false)"
                            : "";
    if (is_hidden)
        fail(home, ERROR_INVALID,
             "the NFS server %s has no export %s for the gateway: correct home-export, or let the "
             "gateway's address have it with sec=sys%s",
             home->server, home->export_path, ports);
    else
        fail(home, ERROR_DENIED,
             "the NFS server %s refuses the export %s to the gateway (%s): let the gateway's "
             "address have it with sec=sys%s",
             home->server, home->export_path, said, ports);
}

/* What an operation on a place was answered, where the status says it all. */
static bool fail_plainly(struct home *home, nfsstat4 status, const char *place) {
    switch (status) {
    case NFS4ERR_NOSPC:
        fail(home, ERROR_LIMIT, "the NFS server %s has no space left to make %s", home->server,
             place);
        return true;
    case NFS4ERR_DQUOT:
        fail(home, ERROR_LIMIT, "the quota on the NFS server %s has no room to make %s",
             home->server, place);
        return true;
    case NFS4ERR_ROFS:
        fail(home, ERROR_DENIED, "%s on the NFS server %s is read-only: export it for writing (rw)",
             place, home->server);
        return true;
    case NFS4ERR_BADOWNER:
        fail(home, ERROR_UNSUPPORTED,
             "the NFS server %s takes no numbers as owners, so %s cannot be given to uid %s: set "
             "home-parent-gid, or turn off the server's id mapping",
             home->server, place, home->owner);
        return true;
    default:
        return false;
    }
}

static void fail_making(struct home *home, nfsstat4 status, const char *place) {
    if (fail_plainly(home, status, place))
        return;
    if (!is_refusal(status))
        fail(home, ERROR_SYSTEM, "%s cannot be made on the NFS server %s: %s", place, home->server,
             nfsstat4_to_str((int)status));
    else if (home->target.parent_gid < 0)
        fail(home, ERROR_DENIED,
             "the NFS server %s does not let root make %s: either export with no_root_squash, or "
             "let a group write the directory above it and name that group in home-parent-gid",
             home->server, place);
    else
        fail(home, ERROR_DENIED,
             "the NFS server %s does not let uid %s with the group %lld (home-parent-gid) make %s: "
             "that group has to be able to write the directory above it",
             home->server, home->owner, (long long)home->target.parent_gid, place);
}

static void fail_writing(struct home *home, nfsstat4 status) {
    cleanup_free char *place = place_of(home, WHOLE);
    if (!fail_plainly(home, status, place))
        fail(home, ERROR_DENIED,
             "%s on the NFS server %s belongs to %s:%s with the mode %04o and cannot be written by "
             "uid %s: the administrator has to correct its owner or its mode",
             place, home->server, home->at.owner, home->at.group, home->at.mode & 07777,
             home->owner);
}

static void fail_type(struct home *home, size_t components, uint32_t type) {
    cleanup_free char *place = place_of(home, components);
    if (type == NF4LNK)
        fail(home, ERROR_DENIED,
             "%s on the NFS server %s is a symbolic link, which is not followed, as it could lead "
             "into another's files: put the directory itself there",
             place, home->server);
    else
        fail(home, ERROR_INVALID, "%s on the NFS server %s is a file: a directory has to be there",
             place, home->server);
}

/* --- calls --- */

static void wait_and_walk(struct home *home, const struct error *why) {
    const struct timeval again = {.tv_usec = AGAIN_MS * 1000};
    home->trouble = *why;
    event_add(home->again, &again);
}

/* True: there is nothing more to be done with it. */
static bool take_failure(struct home *home, const struct compound_reply *reply,
                         const struct error *err) {
    struct error why;
    home->call = NULL;
    if (err != NULL && err->code == ERROR_UNAVAILABLE) {
        wait_and_walk(home, err);
    } else if (err != NULL && err->code == ERROR_DENIED) {
        fail_export(home, false, err->text);
    } else if (err != NULL) {
        fail(home, err->code, "the NFS server %s: %s", home->server, err->text);
    } else if (reply->status == NFS4ERR_DELAY || reply->status == NFS4ERR_GRACE ||
               reply->status == NFS4ERR_STALE) {
        error_set(&why, ERROR_UNAVAILABLE, "it says %s", nfsstat4_to_str((int)reply->status));
        wait_and_walk(home, &why);
    } else
        return false;
    return true;
}

static void call(struct home *home, const struct nfs_credential *credential, nfs_done *done) {
    home->call = nfs_connection_call(home->connection, credential, &home->compound, done, home);
}

/* Whoever makes directories. */
static struct nfs_credential maker(const struct home *home) {
    if (home->target.parent_gid < 0)
        return (struct nfs_credential){0};
    return (struct nfs_credential){.uid = home->target.uid,
                                   .gid = home->target.gid,
                                   .groups = 1,
                                   .group = {(uint32_t)home->target.parent_gid}};
}

/* --- it can be written --- */

static void on_checked(void *context, const struct compound_reply *reply, const struct error *err) {
    struct home *home = context;
    if (take_failure(home, reply, err))
        return;
    bool may = (reply->access & ACCESS_WANTED) == ACCESS_WANTED;
    if (may && reply->status == NFS4ERR_NOENT)
        end(home, NULL);
    else
        fail_writing(home, reply->status);
}

/* ACCESS knows modes, but not what the export allows: for that, something is removed that is not
 * there. */
static void check(struct home *home) {
    const struct nfs_credential user = {.uid = home->target.uid, .gid = home->target.gid};
    char uuid[37];
    text_uuid4(uuid);
    snprintf(home->probe, sizeof home->probe, ".elara-%s", uuid);
    compound_begin_at(&home->compound, &home->handle);
    compound_add_access(&home->compound, ACCESS_WANTED);
    compound_add_remove(&home->compound, home->probe);
    call(home, &user, on_checked);
}

/* --- it belongs to the user --- */

static bool is_number(const char *text) {
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static void on_given(void *context, const struct compound_reply *reply, const struct error *err) {
    struct home *home = context;
    if (take_failure(home, reply, err))
        return;
    if (reply->status == NFS4_OK)
        walk(home);
    else
        fail_writing(home, reply->status);
}

/* The kubelet makes missing directories of a subPath as root. */
static void give(struct home *home) {
    const struct nfs_credential credential = maker(home);
    home->is_given = true;
    compound_begin_at(&home->compound, &home->handle);
    compound_add_chown(&home->compound, home->owner, home->group);
    call(home, &credential, on_given);
}

static void check_owner(struct home *home) {
    bool is_foreign = is_number(home->at.owner) && strcmp(home->at.owner, home->owner) != 0;
    if (!is_foreign) { /* a name tells nothing, the server's answer to that uid does */
        check(home);
    } else if (home->target.parent_gid < 0 && strcmp(home->at.owner, "0") == 0 && !home->is_given) {
        give(home);
    } else {
        cleanup_free char *place = place_of(home, WHOLE);
        fail(home, ERROR_DENIED,
             "%s on the NFS server %s belongs to uid %s, not to uid %s: the administrator has to "
             "correct its owner, or the setting home-uids",
             place, home->server, home->at.owner, home->owner);
    }
}

/* --- it is there --- */

static void on_made(void *context, const struct compound_reply *reply, const struct error *err) {
    struct home *home = context;
    if (take_failure(home, reply, err))
        return;
    nfsstat4 status = reply->status;
    if (status == NFS4_OK || status == NFS4ERR_EXIST || status == NFS4ERR_NOENT) {
        walk(home); /* somebody else may have been faster */
        return;
    }
    cleanup_free char *place = place_of(home, WHOLE);
    fail_making(home, status, place);
}

/* The component behind so many that are there. */
static void make(struct home *home, size_t there) {
    const struct nfs_credential credential = maker(home);
    bool is_root = home->target.parent_gid < 0;
    const char *at = home->path;
    compound_begin(&home->compound);
    compound_add_walk(&home->compound, home->export_path, false);
    for (size_t i = 0; i < there; i++, at += strcspn(at, "/") + 1)
        compound_add_component(&home->compound, at, strcspn(at, "/"));
    compound_add_mkdir(&home->compound, at, strcspn(at, "/"), MODE_MADE,
                       is_root ? home->owner : NULL, is_root ? home->group : NULL);
    call(home, &credential, on_made);
}

static void take_missing(struct home *home, size_t there) {
    if (there >= home->target.given) {
        make(home, there);
        return;
    }
    cleanup_free char *place = place_of(home, there + 1);
    fail(home, ERROR_INVALID,
         "there is no %s on the NFS server %s: the administrator has to make it, as it stands %s",
         place, home->server,
         home->target.is_shared ? "in home-extra or home-path" : "before {user} in home-path");
}

/* reply: PUTROOTFH, a LOOKUP for each component of the export, then LOOKUP and GETATTR for each of
 * the path, GETFH. */
static void on_walked(void *context, const struct compound_reply *reply, const struct error *err) {
    struct home *home = context;
    if (take_failure(home, reply, err))
        return;
    size_t before = 1 + compound_components(home->export_path);
    size_t whole = compound_components(home->path);
    bool is_done = reply->status == NFS4_OK;
    if (!is_done && reply->count <= before) {
        fail_export(home, reply->status == NFS4ERR_NOENT, nfsstat4_to_str((int)reply->status));
        return;
    }
    size_t there = (reply->count - before - 1) / 2;
    for (size_t i = 0; i < there; i++) {
        uint32_t type = reply->attributes[before + 2 * i + 1].type;
        if (type != NF4DIR) {
            fail_type(home, i + 1, type);
            return;
        }
    }
    if (is_done && home->target.is_shared) {
        end(home, NULL);
    } else if (is_done) {
        home->handle = reply->handle;
        home->at = reply->attributes[before + 2 * whole - 1];
        check_owner(home);
    } else if (reply->status == NFS4ERR_NOENT) {
        take_missing(home, there);
    } else {
        cleanup_free char *place = place_of(home, there + 1);
        if (is_refusal(reply->status))
            fail_making(home, reply->status, place);
        else
            fail(home, ERROR_SYSTEM, "%s on the NFS server %s cannot be looked at: %s", place,
                 home->server, nfsstat4_to_str((int)reply->status));
    }
}

static void walk(struct home *home) {
    const struct nfs_credential credential = maker(home);
    if (++home->rounds > ROUNDS_MAX) {
        fail(home, ERROR_CHANGED, "the NFS server %s tells something else each time it is asked",
             home->server);
        return;
    }
    compound_begin(&home->compound);
    compound_add_walk(&home->compound, home->export_path, false);
    compound_add_walk(&home->compound, home->path, true);
    compound_add_handle(&home->compound);
    call(home, &credential, on_walked);
}

static void on_again(evutil_socket_t fd, short what, void *context) {
    struct home *home = context;
    (void)fd;
    (void)what;
    home->rounds = 0;
    walk(home);
}

static void on_deadline(evutil_socket_t fd, short what, void *context) {
    struct home *home = context;
    (void)fd;
    (void)what;
    double seconds = (double)home->deadline_ms / 1000;
    bool is_resolving = nfs_connection_is_resolving(home->connection);
    if (home->call != NULL) {
        nfs_call_cancel(steal(&home->call));
        nfs_connection_reset(home->connection, "it does not answer");
    }
    if (is_resolving)
        fail(home, ERROR_TIMEOUT,
             "the name of the NFS server %s (home-server) was not resolved within %g s "
             "(home-deadline): the gateway's name servers do not answer",
             home->server, seconds);
    else if (home->trouble.code == ERROR_NONE)
        fail(home, ERROR_TIMEOUT,
             "the NFS server %s did not answer within %g s (home-deadline): see whether it runs "
             "and can be reached from the gateway",
             home->server, seconds);
    else
        fail(home, ERROR_TIMEOUT,
             "the NFS server %s could not be reached within %g s (home-deadline): %s", home->server,
             seconds, home->trouble.text);
}

struct home *home_prepare(struct event_base *loop, struct nfs_connection *connection,
                          const struct home_target *target, int64_t deadline_ms, home_done *done,
                          void *context) {
    struct home *home = memory_alloc(sizeof *home);
    const struct timeval deadline = {.tv_sec = deadline_ms / 1000,
                                     .tv_usec = deadline_ms % 1000 * 1000};
    home->connection = connection;
    home->target = *target;
    home->server = memory_strdup(target->server);
    home->export_path = memory_strdup(target->export_path);
    home->path = memory_strdup(target->path);
    home->done = done;
    home->context = context;
    home->deadline_ms = deadline_ms;
    snprintf(home->owner, sizeof home->owner, "%u", target->uid);
    snprintf(home->group, sizeof home->group, "%u", target->gid);
    home->deadline = evtimer_new(loop, on_deadline, home);
    home->again = evtimer_new(loop, on_again, home);
    event_add(home->deadline, &deadline);
    walk(home);
    return home;
}
