package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

func expand(word string, values map[string]string) string {
	return expansion.Expand(word, expansion.MappingFuncFor(values))
}

// environment of the container: the variables of its spec, and as an image would have it a PATH and a HOME.
func (p *pod) environment() (map[string]string, error) {
	values := map[string]string{"PATH": os.Getenv("PATH"), "HOME": "/tmp", "LANG": "C.UTF-8", "HOSTNAME": p.object.Name}
	for _, source := range p.container().EnvFrom {
		if err := p.addAll(values, source); err != nil {
			return nil, err
		}
	}
	for _, variable := range p.container().Env {
		value := expand(variable.Value, values)
		if variable.ValueFrom != nil {
			var err error
			if value, err = p.valueFrom(variable.ValueFrom); err != nil {
				return nil, fmt.Errorf("variable %s: %w", variable.Name, err)
			}
		}
		values[variable.Name] = value
	}
	return values, nil
}

func (p *pod) keys(secret, configMap string) (map[string]string, error) {
	values := map[string]string{}
	if secret != "" {
		found, err := p.pods.client.CoreV1().Secrets(p.object.Namespace).Get(context.Background(), secret, meta.GetOptions{})
		if err != nil {
			return nil, err
		}
		for name, value := range found.Data {
			values[name] = string(value)
		}
		return values, nil
	}
	found, err := p.pods.client.CoreV1().ConfigMaps(p.object.Namespace).Get(context.Background(), configMap, meta.GetOptions{})
	if err != nil {
		return nil, err
	}
	return found.Data, nil
}

func (p *pod) addAll(values map[string]string, source core.EnvFromSource) error {
	var found map[string]string
	var err error
	if source.SecretRef != nil {
		found, err = p.keys(source.SecretRef.Name, "")
	} else if source.ConfigMapRef != nil {
		found, err = p.keys("", source.ConfigMapRef.Name)
	}
	for name, value := range found {
		values[source.Prefix+name] = value
	}
	return err
}

func (p *pod) valueFrom(source *core.EnvVarSource) (string, error) {
	switch {
	case source.SecretKeyRef != nil:
		values, err := p.keys(source.SecretKeyRef.Name, "")
		return values[source.SecretKeyRef.Key], err
	case source.ConfigMapKeyRef != nil:
		values, err := p.keys("", source.ConfigMapKeyRef.Name)
		return values[source.ConfigMapKeyRef.Key], err
	case source.FieldRef != nil:
		return p.field(source.FieldRef.FieldPath)
	}
	return "", fmt.Errorf("a hollow node knows no such source")
}

func (p *pod) field(path string) (string, error) {
	switch path {
	case "metadata.name":
		return p.object.Name, nil
	case "metadata.namespace":
		return p.object.Namespace, nil
	case "metadata.uid":
		return string(p.object.UID), nil
	case "spec.nodeName":
		return p.pods.options.node, nil
	case "spec.serviceAccountName":
		return p.object.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return p.pods.options.address, nil
	case "status.podIP", "status.podIPs":
		return p.address, nil
	}
	for prefix, values := range map[string]map[string]string{
		"metadata.labels['": p.object.Labels, "metadata.annotations['": p.object.Annotations} {
		if key, found := strings.CutPrefix(path, prefix); found {
			return values[strings.TrimSuffix(key, "']")], nil
		}
	}
	return "", fmt.Errorf("a hollow node knows no field %s", path)
}
