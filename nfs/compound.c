#include "nfs/compound.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#define BIT(attribute) (UINT32_C(1) << ((attribute) % 32))

static nfs_argop4 *add(struct compound *compound, nfs_opnum4 what) {
    assert(compound->count < COMPOUND_OPS_MAX);
    nfs_argop4 *op = &compound->ops[compound->count++];
    *op = (nfs_argop4){.argop = what};
    return op;
}

static void start(struct compound *compound) {
    compound->count = 0;
    compound->wanted_mask[0] = BIT(FATTR4_TYPE);
    compound->wanted_mask[1] = BIT(FATTR4_MODE) | BIT(FATTR4_OWNER) | BIT(FATTR4_OWNER_GROUP);
}

void compound_begin(struct compound *compound) {
    start(compound);
    add(compound, OP_PUTROOTFH);
}

void compound_begin_at(struct compound *compound, const struct compound_handle *handle) {
    start(compound);
    nfs_fh4 *object = &add(compound, OP_PUTFH)->nfs_argop4_u.opputfh.object;
    object->nfs_fh4_len = (u_int)handle->length;
    object->nfs_fh4_val = (char *)(uintptr_t)handle->bytes;
}

static void set_name(component4 *component, const char *name, size_t length) {
    component->utf8string_len = (u_int)length;
    component->utf8string_val = (char *)(uintptr_t)name;
}

/* The next component; its length, 0 behind the last. */
static size_t next(const char **at) {
    *at += strspn(*at, "/");
    return strcspn(*at, "/");
}

size_t compound_components(const char *path) {
    size_t count = 0;
    for (size_t length; (length = next(&path)) > 0; path += length)
        count++;
    return count;
}

void compound_add_component(struct compound *compound, const char *name, size_t length) {
    set_name(&add(compound, OP_LOOKUP)->nfs_argop4_u.oplookup.objname, name, length);
}

void compound_add_walk(struct compound *compound, const char *path, bool with_attributes) {
    for (size_t length; (length = next(&path)) > 0; path += length) {
        compound_add_component(compound, path, length);
        if (with_attributes)
            compound_add_attributes(compound);
    }
}

void compound_add_attributes(struct compound *compound) {
    bitmap4 *wanted = &add(compound, OP_GETATTR)->nfs_argop4_u.opgetattr.attr_request;
    wanted->bitmap4_len = 2;
    wanted->bitmap4_val = compound->wanted_mask;
}

void compound_add_handle(struct compound *compound) {
    add(compound, OP_GETFH);
}

void compound_add_access(struct compound *compound, uint32_t wanted) {
    add(compound, OP_ACCESS)->nfs_argop4_u.opaccess.access = wanted;
}

void compound_add_remove(struct compound *compound, const char *name) {
    set_name(&add(compound, OP_REMOVE)->nfs_argop4_u.opremove.target, name, strlen(name));
}

static size_t put_number(char *at, uint32_t number) {
    number = htonl(number);
    memcpy(at, &number, sizeof number);
    return sizeof number;
}

/* XDR (RFC 4506): the length, and the bytes up to a multiple of four. */
static size_t put_text(char *at, const char *text) {
    size_t length = strlen(text), padded = (length + 3) / 4 * 4;
    put_number(at, (uint32_t)length);
    memset(at + 4, 0, padded);
    memcpy(at + 4, text, length);
    return 4 + padded;
}

/* In the order of their numbers. */
static void set_attributes(struct compound *compound, fattr4 *ret, const uint32_t *mode,
                           const char *owner, const char *group) {
    size_t length = 0;
    uint32_t *mask = compound->created_mask;
    mask[0] = mask[1] = 0;
    if (mode != NULL) {
        mask[1] |= BIT(FATTR4_MODE);
        length += put_number(compound->attributes, *mode);
    }
    if (owner != NULL) {
        mask[1] |= BIT(FATTR4_OWNER);
        length += put_text(compound->attributes + length, owner);
    }
    if (group != NULL) {
        mask[1] |= BIT(FATTR4_OWNER_GROUP);
        length += put_text(compound->attributes + length, group);
    }
    assert(length <= sizeof compound->attributes);
    ret->attrmask.bitmap4_len = 2;
    ret->attrmask.bitmap4_val = mask;
    ret->attr_vals.attrlist4_len = (u_int)length;
    ret->attr_vals.attrlist4_val = compound->attributes;
}

void compound_add_mkdir(struct compound *compound, const char *name, size_t length, uint32_t mode,
                        const char *owner, const char *group) {
    CREATE4args *create = &add(compound, OP_CREATE)->nfs_argop4_u.opcreate;
    create->objtype.type = NF4DIR;
    set_name(&create->objname, name, length);
    set_attributes(compound, &create->createattrs, &mode, owner, group);
}

void compound_add_chown(struct compound *compound, const char *owner, const char *group) {
    set_attributes(compound, &add(compound, OP_SETATTR)->nfs_argop4_u.opsetattr.obj_attributes,
                   NULL, owner, group);
}

/* --- answers --- */

struct cursor {
    const char *at;
    size_t left;
};

static bool get_number(struct cursor *cursor, uint32_t *ret) {
    if (cursor->left < sizeof *ret)
        return false;
    memcpy(ret, cursor->at, sizeof *ret);
    *ret = ntohl(*ret);
    cursor->at += sizeof *ret;
    cursor->left -= sizeof *ret;
    return true;
}

static bool get_text(struct cursor *cursor, char *ret) {
    uint32_t length;
    if (!get_number(cursor, &length) || length > cursor->left)
        return false;
    size_t kept = length < COMPOUND_OWNER_SIZE ? length : COMPOUND_OWNER_SIZE - 1;
    size_t padded = ((size_t)length + 3) / 4 * 4;
    if (padded > cursor->left)
        return false;
    memcpy(ret, cursor->at, kept);
    ret[kept] = '\0';
    cursor->at += padded;
    cursor->left -= padded;
    return true;
}

/* Only what was asked for may be there. */
static bool read_attributes(const struct compound *compound, const fattr4 *from,
                            struct compound_attributes *ret) {
    struct cursor cursor = {from->attr_vals.attrlist4_val, from->attr_vals.attrlist4_len};
    uint32_t mask[2] = {0, 0};
    for (u_int i = 0; i < from->attrmask.bitmap4_len; i++) {
        uint32_t word = from->attrmask.bitmap4_val[i];
        if ((word & ~(i < 2 ? compound->wanted_mask[i] : 0)) != 0)
            return false;
        if (i < 2)
            mask[i] = word;
    }
    return ((mask[0] & BIT(FATTR4_TYPE)) == 0 || get_number(&cursor, &ret->type)) &&
           ((mask[1] & BIT(FATTR4_MODE)) == 0 || get_number(&cursor, &ret->mode)) &&
           ((mask[1] & BIT(FATTR4_OWNER)) == 0 || get_text(&cursor, ret->owner)) &&
           ((mask[1] & BIT(FATTR4_OWNER_GROUP)) == 0 || get_text(&cursor, ret->group));
}

static bool read_one(const struct compound *compound, const nfs_resop4 *from, size_t index,
                     struct compound_reply *ret) {
    const nfs_fh4 *handle = &from->nfs_resop4_u.opgetfh.GETFH4res_u.resok4.object;
    switch (from->resop) {
    case OP_GETATTR:
        return read_attributes(compound,
                               &from->nfs_resop4_u.opgetattr.GETATTR4res_u.resok4.obj_attributes,
                               &ret->attributes[index]);
    case OP_GETFH:
        if (handle->nfs_fh4_len > sizeof ret->handle.bytes)
            return false;
        ret->handle.length = handle->nfs_fh4_len;
        memcpy(ret->handle.bytes, handle->nfs_fh4_val, handle->nfs_fh4_len);
        return true;
    case OP_ACCESS:
        ret->access = from->nfs_resop4_u.opaccess.ACCESS4res_u.resok4.access;
        return true;
    default:
        return true;
    }
}

bool compound_read(const struct compound *compound, const COMPOUND4res *answer,
                   struct compound_reply *ret) {
    *ret =
        (struct compound_reply){.count = answer->resarray.resarray_len, .status = answer->status};
    if (ret->count > compound->count || (ret->status == NFS4_OK && ret->count != compound->count))
        return false;
    for (size_t i = 0; i < ret->count; i++) {
        nfs_resop4 from; /* libnfs does not align them */
        memcpy(&from, (const char *)answer->resarray.resarray_val + i * sizeof from, sizeof from);
        bool is_ok = ret->status == NFS4_OK || i + 1 < ret->count;
        if (from.resop != compound->ops[i].argop && is_ok)
            return false;
        if (is_ok && !read_one(compound, &from, i, ret))
            return false;
    }
    return true;
}
