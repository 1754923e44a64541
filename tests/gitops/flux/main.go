// Command health runs every file of a folder of statuses through kstatus, and
// through Flux's evaluation of the health check expressions of a Kustomization,
// and compares the results with those that the file expects.
//
//	health <statuses> <kustomization.yaml>
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomization "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

type row struct {
	Expected struct {
		KStatus status.Status `json:"kstatus"`
		Flux    status.Status `json:"flux"`
	} `json:"expected"`
	Object json.RawMessage `json:"object"`
}

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: health <statuses> <kustomization.yaml>"))
	}
	manifest, err := os.ReadFile(os.Args[2])
	fail(err)
	var example kustomization.Kustomization
	fail(yaml.UnmarshalStrict(manifest, &example))
	if len(example.Spec.HealthCheckExprs) == 0 {
		fail(fmt.Errorf("%s has no health check expressions", os.Args[2]))
	}
	newReader, err := cel.NewStatusReader(example.Spec.HealthCheckExprs)
	fail(err)
	reader := newReader(nil)
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*.json"))
	fail(err)
	if len(files) == 0 {
		fail(fmt.Errorf("%s has no statuses", os.Args[1]))
	}
	wrong := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		fail(err)
		var row row
		fail(json.Unmarshal(text, &row))
		// Other decoders make numbers of a type that kstatus refuses.
		var object unstructured.Unstructured
		fail(object.UnmarshalJSON(row.Object))
		computed, err := status.Compute(&object)
		fail(err)
		if computed.Status != row.Expected.KStatus {
			wrong++
			fmt.Printf("%s: kstatus says %s (%s), expected is %s\n", file, computed.Status, computed.Message, row.Expected.KStatus)
		}
		read, err := reader.ReadStatusForObject(context.Background(), nil, &object)
		fail(err)
		if read.Error != nil || read.Status != row.Expected.Flux {
			wrong++
			fmt.Printf("%s: Flux says %s (%v), expected is %s\n", file, read.Status, read.Error, row.Expected.Flux)
		}
	}
	fmt.Printf("kstatus and Flux: %d statuses, %d wrong\n", len(files), wrong)
	if wrong > 0 {
		os.Exit(1)
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
