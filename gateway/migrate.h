/* What `elara migrate` finds in a set-up of Jupyter Enterprise Gateway, brought together as
 * settings of ours. Every source tells its values under the names of JEG's variables (EG_PORT):
 * settings_table() knows what they are called here and what they may be. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { MIGRATE_FILE_MAX = 1 << 20 };

/* In JEG a configuration file wins over the environment, and both over what the container's start
 * script sets by itself. */
enum migrate_rank { MIGRATE_SCRIPT, MIGRATE_ENVIRONMENT, MIGRATE_FILE };

/* Where kernels run, when a line about a kernelspec holds. */
enum migrate_place { MIGRATE_LOCAL = 1, MIGRATE_PODS = 2, MIGRATE_ANYWHERE = 3 };

struct migration;
struct migration *migration_create(void);
void migration_destroy(struct migration *migration);

/* variable: "EG_PORT", or one of ours. as: what the source calls it, for the comment ("kernel.
 * cullIdleTimeout"). where: "values.yaml" or "jeg.env:3". A variable that does nothing here is
 * noted with the reason, a value that cannot be used is trouble. */
void migration_set_text(struct migration *migration, const char *variable, const char *text,
                        const char *as, const char *where, enum migrate_rank rank);
void migration_set_json(struct migration *migration, const char *variable, const json_t *value,
                        const char *as, const char *where, enum migrate_rank rank);
/* What is not carried over, and why. `text` must not hold a secret. */
void migration_note(struct migration *migration, const char *as, const char *where,
                    const char *text);
/* What was not understood: the admin has to look. */
void migration_trouble(struct migration *migration, const char *as, const char *where,
                       const char *text);
/* A line about a kernelspec, under a heading of its own. It is printed when the settings, whose
 * sources may come later, have kernels there. */
void migration_kernelspec(struct migration *migration, enum migrate_place where, const char *text);
/* Something only a JEG whose kernels are pods has, so they are pods here too. */
void migration_see_pods(struct migration *migration, const char *as, const char *where);
/* A variable whose value is not known: its being there may say where kernels run. */
void migration_see_variable(struct migration *migration, const char *variable, const char *where);
/* After the last source: what JEG takes where none says anything. */
void migration_add_defaults(struct migration *migration);

/* The YAML file with its comments. sources: "values.yaml, EG_ variables". Returns how much trouble
 * there was. */
size_t migration_print(const struct migration *migration, const char *sources, FILE *out);

/* ---- the sources: text is what `name` holds ---- */

/* NAME=value lines, as `env`, docker's --env-file and a shell write them. */
void migrate_environment(struct migration *migration, const char *text, const char *name);
/* The process' own. */
void migrate_process(struct migration *migration, char *const *environment);
/* c.Class.trait = literal; nothing is executed. */
void migrate_python(struct migration *migration, const char *text, const char *name);
/* {"Class": {"trait": value}} */
int migrate_json(struct migration *migration, const char *text, size_t length, const char *name,
                 struct error *err);
/* Values of the Helm chart (1.x to 3.x), a Deployment of JEG, or the JupyterGateway of
 * elastic-jupyter-operator. */
int migrate_yaml(struct migration *migration, const char *text, size_t length, const char *name,
                 struct error *err);
/* What a kernelspec mounts that clients say: {"kernelspec", "volume", "server", "pattern",
 * "is_users"}; server and pattern are null where a policy cannot have them. Copied. */
void migration_mount(struct migration *migration, const json_t *mount);
/* A policy that allows it, into a file that is not there yet, which the settings then name. Where
 * nothing is mounted so there is none. */
int migration_write_policy(struct migration *migration, const char *path, const char *sources,
                           struct error *err);
void migrate_print_policy(const json_t *mounts, const char *sources, FILE *out);

/* What the kernelspec mounts, for the policy. */
void migrate_volumes(struct migration *migration, const char *name, const json_t *spec);
/* A directory of kernelspecs, or one of them. */
int migrate_kernelspecs(struct migration *migration, const char *directory, struct error *err);

/* A trait of JEG's configuration files. class_name, trait: "EnterpriseGatewayApp", "ip". */
void migrate_trait(struct migration *migration, const char *class_name, const char *trait,
                   const json_t *value, const char *where);
/* A literal of Python at *at: texts, numbers, True, False, None, lists, tuples, sets and dicts.
 * *at and *line move behind it. NULL: it is something else. */
json_t *migrate_python_literal(const char **at, int *line);
