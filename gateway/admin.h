/* The admin's program `elara`: a table of verbs (admin.c), a file for each. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct kernelspec;
struct kernelspecs;
struct settings;

struct admin_verb {
    const char *words;     /* "kernelspecs check" */
    const char *arguments; /* as the help shows them: "NAME [--role user|admin]" */
    const char *help;      /* one line */
    /* argv[0] is the program, then what stood behind the words. The exit status; on -1 err says
     * why. */
    int (*run)(int argc, char **argv, struct error *err);
};

/* Ends with a verb whose words are NULL. */
extern const struct admin_verb admin_verbs[];

int admin_main(int argc, char **argv); /* the exit status: 0, 1 for a failure, 2 for a wrong call */

int admin_kernelspecs_list(int argc, char **argv, struct error *err);
int admin_kernelspecs_check(int argc, char **argv, struct error *err);
int admin_policy_explain(int argc, char **argv, struct error *err);
int admin_doctor(int argc, char **argv, struct error *err);
int admin_config_check(int argc, char **argv, struct error *err);
int admin_config_schema(int argc, char **argv, struct error *err);
int admin_completion(int argc, char **argv, struct error *err);
int admin_man(int argc, char **argv, struct error *err);
int admin_migrate(int argc, char **argv, struct error *err);
int admin_token_new(int argc, char **argv, struct error *err);
int admin_kernels(int argc, char **argv, struct error *err);
int admin_status(int argc, char **argv, struct error *err);
int admin_why(int argc, char **argv, struct error *err);
int admin_cull(int argc, char **argv, struct error *err);
int admin_keep(int argc, char **argv, struct error *err);
int admin_logs(int argc, char **argv, struct error *err);
int admin_interrupt(int argc, char **argv, struct error *err);
int admin_restart(int argc, char **argv, struct error *err);
int admin_delete(int argc, char **argv, struct error *err);
int admin_purge(int argc, char **argv, struct error *err);
int admin_journal(int argc, char **argv, struct error *err);

/* Takes the argument that comes before the flags out of argv; NULL when there is none. */
char *admin_take_argument(int *argc, char **argv);
/* A copy without control characters: names and reasons come from clients and kernels. */
char *admin_printable(const char *text);
/* What its argv begins with, if this user cannot run that; malloc'ed, or NULL. python: the
 * setting. */
char *admin_missing_program(const struct kernelspec *spec, const char *python);
/* Are kernels pods? Then a process proxy is no obstacle, and programs are the image's. */
bool admin_has_pods(const struct settings *settings);
/* The problems of the kernel.json (kernelspecs_problems), and where kernels are pods of the
 * pod.yaml; a new reference. */
json_t *admin_kernelspecs_problems(const struct settings *settings,
                                   const struct kernelspecs *specs);
/* One of them: "file:line: field: what is wrong"; malloc'ed. */
char *admin_problem_text(const json_t *problem);
/* The kernelspecs that a gateway with these settings would serve. */
int admin_load_kernelspecs(const struct settings *settings, struct kernelspecs **ret,
                           struct error *err);

/* Of JSON from a gateway; "" when it has no such text. */
const char *admin_text_at(const json_t *object, const char *name);
/* A number of ms as "1 h 5 min"; `otherwise` when it has none. */
char *admin_duration_at(const json_t *object, const char *name, const char *otherwise);
char *admin_size_at(const json_t *object, const char *name); /* bytes, as "12 MiB"; "" */
void admin_print_json(json_t *json);                         /* takes it */
/* How many bytes of these objects' ids tell them apart, 8 at least. */
size_t admin_short_length(const json_t *kernels);

/* Rows of texts in columns as wide as their widest; NULL = "". Control characters are shown as
 * '?'. */
enum { ADMIN_COLUMNS_MAX = 10 };
struct admin_table;
struct admin_table *admin_table_create(size_t columns);
void admin_table_add(struct admin_table *table, const char *const *texts);
void admin_table_print(struct admin_table *table); /* to stdout, and frees it */

/* The gateway over HTTP (admin_http.c). argv: what is left after the verb's own; flags --url,
 * --token-file, --ca-file, --timeout. */
struct admin_gateway;
int admin_gateway_create(int argc, char **argv, struct admin_gateway **ret, struct error *err);
void admin_gateway_destroy(struct admin_gateway *gateway);
/* path: "api/kernels". body: of a POST, NULL is {}. *ret (may be NULL): the answer, a new
 * reference, NULL when it has no body. A refusal's text is the gateway's own. */
int admin_gateway_call(struct admin_gateway *gateway, const char *method, const char *path,
                       const json_t *body, json_t **ret, struct error *err);
/* GET of something that is not JSON: the answer's bytes, borrowed until the next call. */
int admin_gateway_read(struct admin_gateway *gateway, const char *path, const char **ret,
                       size_t *length, struct error *err);
/* A header of the last answer, until the next call; NULL: it has none. */
const char *admin_gateway_header(const struct admin_gateway *gateway, const char *name);
/* The gateway, and the kernel whose id begins with `start` (as admin_take_argument gave it). */
int admin_open_kernel(int argc, char **argv, const char *start, struct admin_gateway **ret,
                      char **id, struct error *err);
/* The whole of a verb that asks one thing. `type` is the answer's: JSON_OBJECT or JSON_ARRAY. */
int admin_ask(int argc, char **argv, const char *method, const char *path, const json_t *body,
              json_type type, json_t **ret, struct error *err);
/* The same of the kernel whose id begins with `start`; action: "/why". ret may be NULL. */
int admin_ask_kernel(int argc, char **argv, const char *start, const char *method,
                     const char *action, const json_t *body, char **id, json_t **ret,
                     struct error *err);
