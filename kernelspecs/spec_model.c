/* What clients see of a kernelspec (jupyter_server, "Kernel specs" REST API; @jupyterlab/services'
 * validators). */
#include "kernelspecs/kernelspecs.h"

#include "base/buffer.h"
#include "base/cleanup.h"

#include <string.h>

static void append_escaped(struct buffer *out, const char *text) {
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-~";
    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL)
            buffer_append(out, text, 1);
        else
            buffer_printf(out, "%%%02X", (unsigned char)*text);
    }
}

static json_t *resource_urls(const struct kernelspec *spec, const char *base_url) {
    json_t *urls = json_object();
    const char *key;
    json_t *file;
    json_object_foreach(spec->resources, key, file) {
        cleanup_buffer struct buffer url = {0};
        buffer_printf(&url, "%skernelspecs/", base_url);
        append_escaped(&url, spec->name);
        buffer_append_text(&url, "/");
        append_escaped(&url, json_string_value(file));
        json_object_set_new(urls, key, json_string(buffer_text(&url)));
    }
    return urls;
}

/* The names stay, so that one sees what a kernel gets; the values may be secrets. */
static json_t *blanked(const json_t *env) {
    json_t *names = json_object();
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)env, name, value) {
        json_object_set_new(names, name, json_string(""));
    }
    return names;
}

static void set_if_absent(json_t *object, const char *name, json_t *value) {
    if (json_object_get(object, name) == NULL)
        json_object_set_new(object, name, value);
    else
        json_decref(value);
}

static json_t *published(const struct kernelspec *spec, bool publish_env) {
    json_t *model = json_copy(spec->json); /* shallow: what is below is shared, not changed */
    const json_t *env = json_object_get(spec->json, "env");
    set_if_absent(model, "argv", json_array());
    if (env != NULL && !publish_env)
        json_object_set_new(model, "env", blanked(env));
    set_if_absent(model, "env", json_object());
    json_object_set_new(model, "display_name", json_string(spec->display_name));
    json_object_set_new(model, "language", json_string(spec->language));
    set_if_absent(model, "interrupt_mode", json_string("signal"));
    set_if_absent(model, "metadata", json_object());
    return model;
}

json_t *kernelspec_model(const struct kernelspecs *specs, const struct kernelspec *spec,
                         const char *name, const char *base_url) {
    json_t *typed = json_string(name);
    return json_pack("{s:o, s:o, s:o}", "name", typed != NULL ? typed : json_string(spec->name),
                     "spec", published(spec, kernelspecs_publish_env(specs)), "resources",
                     resource_urls(spec, base_url));
}

json_t *kernelspecs_model(const struct kernelspecs *specs, const char *base_url, const char *user,
                          const struct kernelspec_users *gateway) {
    json_t *models = json_object();
    const struct kernelspec *spec;
    for (size_t i = 0; (spec = kernelspecs_at(specs, i)) != NULL; i++)
        if (kernelspec_refusal(spec, user, gateway) == NULL)
            json_object_set_new(models, spec->name,
                                kernelspec_model(specs, spec, spec->name, base_url));
    return json_pack("{s:s, s:o}", "default", kernelspecs_default(specs), "kernelspecs", models);
}
