package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A hollow pod's volumes are directories of the machine below the pod's own:
//
//	emptyDir                     a new directory
//	secret, configMap            files with the keys' names, 0600, as they are when the pod starts
//	nfs, persistentVolumeClaim   a directory that all pods share which name the same export or claim
//	projected, downwardAPI       an empty directory: there is no service account token
//
// Others fail to mount.
func (p *pod) makeVolumes() error {
	for i := range p.object.Spec.Volumes {
		volume := &p.object.Spec.Volumes[i]
		if err := p.makeVolume(volume); err != nil {
			return fmt.Errorf("%q : %w", volume.Name, err)
		}
	}
	return os.MkdirAll(p.directory(), 0o755)
}

func (p *pod) volumePath(name string) string {
	return filepath.Join(p.directory(), "volumes", name)
}

func (p *pod) makeVolume(volume *core.Volume) error {
	path := p.volumePath(volume.Name)
	ctx := context.Background()
	switch {
	case volume.Secret != nil:
		return p.makeSecret(ctx, volume.Secret, path)
	case volume.ConfigMap != nil:
		return p.makeConfigMap(ctx, volume.ConfigMap, path)
	case volume.NFS != nil:
		return p.share(path, volume.NFS.Server, volume.NFS.Path)
	case volume.PersistentVolumeClaim != nil:
		return p.share(path, p.object.Namespace, volume.PersistentVolumeClaim.ClaimName)
	case volume.EmptyDir != nil, volume.Projected != nil, volume.DownwardAPI != nil:
		if err := os.MkdirAll(path, 0o777); err != nil {
			return err
		}
		return os.Chmod(path, 0o777) // the umask took something
	}
	return fmt.Errorf("a hollow node has no volumes of this kind")
}

func (p *pod) makeSecret(ctx context.Context, source *core.SecretVolumeSource, path string) error {
	found, err := p.pods.client.CoreV1().Secrets(p.object.Namespace).Get(ctx, source.SecretName, meta.GetOptions{})
	if err != nil {
		if source.Optional != nil && *source.Optional {
			return os.MkdirAll(path, 0o700)
		}
		return fmt.Errorf("secret %q not found", source.SecretName)
	}
	return writeKeys(path, found.Data, source.Items)
}

func (p *pod) makeConfigMap(ctx context.Context, source *core.ConfigMapVolumeSource, path string) error {
	found, err := p.pods.client.CoreV1().ConfigMaps(p.object.Namespace).Get(ctx, source.Name, meta.GetOptions{})
	if err != nil {
		if source.Optional != nil && *source.Optional {
			return os.MkdirAll(path, 0o700)
		}
		return fmt.Errorf("configmap %q not found", source.Name)
	}
	data := found.BinaryData
	if data == nil {
		data = map[string][]byte{}
	}
	for name, value := range found.Data {
		data[name] = []byte(value)
	}
	return writeKeys(path, data, source.Items)
}

// writeKeys writes all keys, or those that items name.
func writeKeys(path string, data map[string][]byte, items []core.KeyToPath) error {
	if len(items) == 0 {
		for name := range data {
			items = append(items, core.KeyToPath{Key: name, Path: name})
		}
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for _, item := range items {
		value, exists := data[item.Key]
		if !exists {
			return fmt.Errorf("references non-existent key %s", item.Key)
		}
		file := filepath.Join(path, item.Path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, value, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// share lets a volume be a directory that others have too.
func (p *pod) share(path string, names ...string) error {
	shared := filepath.Join(append([]string{p.pods.options.directory, "shared"}, names...)...)
	if err := os.MkdirAll(shared, 0o777); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(shared, path); err != nil && !os.IsExist(err) {
		return err
	}
	return nil
}

type bind struct {
	source, target string
	readOnly       bool
}

// binds of the container, the outer ones first.
func (p *pod) binds() ([]bind, error) {
	var found []bind
	for _, mount := range p.container().VolumeMounts {
		source := filepath.Join(p.volumePath(mount.Name), mount.SubPath)
		if mount.SubPath != "" {
			if err := os.MkdirAll(source, 0o777); err != nil {
				return nil, err
			}
		}
		found = append(found, bind{source, filepath.Clean(mount.MountPath), mount.ReadOnly})
	}
	sortBy(found, func(b bind) int { return strings.Count(b.target, "/") })
	return found, nil
}
