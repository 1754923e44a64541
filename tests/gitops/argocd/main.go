// Command health runs every file of a folder of statuses through Argo CD's own
// health assessment with the given script, and compares the result with the
// one that the file expects. It also checks an Application against Argo CD's
// type.
//
//	health <statuses> <health.lua> <application.yaml>
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	application "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/gitops-engine/pkg/health"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// The key of the script in argocd-cm, without its prefix and with a slash in
// place of the underscore, as Argo CD reads it.
const kind = "behalf.dev/McpServer"

type row struct {
	Expected struct {
		ArgoCD health.HealthStatus `json:"argocd"`
	} `json:"expected"`
	Object json.RawMessage `json:"object"`
}

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: health <statuses> <health.lua> <application.yaml>"))
	}
	script, err := os.ReadFile(os.Args[2])
	fail(err)
	manifest, err := os.ReadFile(os.Args[3])
	fail(err)
	fail(yaml.UnmarshalStrict(manifest, &application.Application{}))
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*.json"))
	fail(err)
	if len(files) == 0 {
		fail(fmt.Errorf("%s has no statuses", os.Args[1]))
	}
	override := lua.ResourceHealthOverrides{kind: {HealthLua: string(script)}}
	wrong := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		fail(err)
		var row row
		fail(json.Unmarshal(text, &row))
		var object unstructured.Unstructured
		fail(object.UnmarshalJSON(row.Object))
		seen, err := health.GetResourceHealth(&object, override)
		if err != nil {
			seen = &health.HealthStatus{Status: health.HealthStatusUnknown, Message: err.Error()}
		}
		if seen == nil || *seen != row.Expected.ArgoCD {
			wrong++
			fmt.Printf("%s: Argo CD says %+v, expected is %+v\n", file, seen, row.Expected.ArgoCD)
		}
	}
	fmt.Printf("Argo CD: %d statuses, %d wrong\n", len(files), wrong)
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
