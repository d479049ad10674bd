package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

func sortBy[T any, K cmp.Ordered](items []T, key func(T) K) {
	slices.SortStableFunc(items, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
}

// enterRoot gives the calling thread file systems of its own: the machine's, with the container's volumes at their places.
// Where such a place does not exist on the machine, the directory around it is a new one with the same things in it, so that
// nothing is made on the machine itself.
func (p *pod) enterRoot() error {
	binds, err := p.binds()
	if err != nil {
		return err
	}
	if err := syscall.Unshare(syscall.CLONE_NEWNS | syscall.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	root := filepath.Join(p.directory(), "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("pod", root, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	fresh := map[string]bool{"/": true}
	for _, b := range binds {
		if _, err := os.Stat(b.target); err == nil {
			continue
		}
		for path := filepath.Dir(b.target); path != "/"; path = filepath.Dir(path) {
			fresh[path] = true
		}
	}
	if err := mirror(root, "/", fresh); err != nil {
		return err
	}
	for _, b := range binds {
		if err := mountAt(root+b.target, b); err != nil {
			return err
		}
	}
	if err := syscall.Chroot(root); err != nil {
		return err
	}
	return os.Chdir("/")
}

// mirror fills the new directory root+path with what the machine has at path.
func mirror(root, path string, fresh map[string]bool) error {
	entries, err := os.ReadDir(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		from := filepath.Join(path, entry.Name())
		to := root + from
		switch {
		case entry.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(from)
			if err != nil {
				return err
			}
			if err := os.Symlink(target, to); err != nil {
				return err
			}
		case entry.IsDir():
			if err := os.Mkdir(to, 0o755); err != nil {
				return err
			}
			if fresh[from] {
				err = mirror(root, from, fresh)
			} else {
				err = syscall.Mount(from, to, "", syscall.MS_BIND|syscall.MS_REC, "")
			}
			if err != nil {
				return fmt.Errorf("%s: %w", from, err)
			}
		case entry.Type().IsRegular() && path != "/":
			if err := os.WriteFile(to, nil, 0o644); err != nil {
				return err
			}
			if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
				return fmt.Errorf("%s: %w", from, err)
			}
		}
	}
	return nil
}

func mountAt(target string, b bind) error {
	source, err := filepath.EvalSymlinks(b.source)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(source, target, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("%s: %w", b.target, err)
	}
	if b.readOnly {
		return syscall.Mount("", target, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
	}
	return nil
}
