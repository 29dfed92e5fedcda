package cluster

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Parse reads the objects of YAML documents. They are the checks' own, so what cannot be read is a defect of theirs.
func Parse(text string) []*unstructured.Unstructured {
	all, err := Read(text)
	if err != nil {
		panic(fmt.Sprintf("%v in\n%s", err, text))
	}
	return all
}

// Read reads the objects of YAML documents.
func Read(text string) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	var all []*unstructured.Unstructured
	for {
		fields := map[string]any{}
		err := decoder.Decode(&fields)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(fields) > 0 {
			Whole(fields)
			all = append(all, &unstructured.Unstructured{Object: fields})
		}
	}
}

// Parsef is Parse of a text with arguments.
func Parsef(format string, arguments ...any) []*unstructured.Unstructured {
	return Parse(fmt.Sprintf(format, arguments...))
}

// Whole makes numbers what the API machinery can copy: integers where they are.
func Whole(fields map[string]any) { whole(fields) }

func whole(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			value[key] = whole(inner)
		}
	case []any:
		for i, inner := range value {
			value[i] = whole(inner)
		}
	case float64:
		if value == float64(int64(value)) {
			return int64(value)
		}
	}
	return value
}
