// Command prometheus-syntax reads JSON from its standard input, and fails if Prometheus or its operator does not accept it.
//
//	prometheus-syntax rules        the groups of a PrometheusRule: expressions, templates
//	prometheus-syntax dashboard    a dashboard of Grafana: expressions
//	prometheus-syntax podmonitors  a list of PodMonitors: fields
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	switch {
	case len(arguments) == 1 && arguments[0] == "rules":
		return rules(text)
	case len(arguments) == 1 && arguments[0] == "dashboard":
		return dashboard(text)
	case len(arguments) == 1 && arguments[0] == "podmonitors":
		return podMonitors(text)
	default:
		return errors.New("usage: prometheus-syntax rules|dashboard|podmonitors < file")
	}
}

func rules(text []byte) error {
	groups, failures := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(failures) == 0 && len(groups.Groups) == 0 {
		return errors.New("no rules")
	}
	return errors.Join(failures...)
}

func podMonitors(text []byte) error {
	var monitors []monitoring.PodMonitor
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&monitors); err != nil {
		return err
	}
	if len(monitors) == 0 {
		return errors.New("no PodMonitors")
	}
	return nil
}

func dashboard(text []byte) error {
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		return err
	}
	// Grafana replaces its variables. Those inside of quotes are part of a text.
	replace := strings.NewReplacer("$__rate_interval", "5m")
	failures, queries := []error{}, 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries++
			if _, err := parser.NewParser(parser.Options{}).ParseExpr(replace.Replace(target.Expr)); err != nil {
				failures = append(failures, fmt.Errorf("%s: %w", panel.Title, err))
			}
		}
	}
	if queries == 0 {
		return errors.New("no queries")
	}
	return errors.Join(failures...)
}
