# The commands for users and developers. Every recipe is short and calls code in tests/demo or .ci.
# Caches are outside the checkout, below $(CACHE).

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/behalf
export CARGO_TARGET_DIR ?= $(CACHE)/target
# Without --package the features are the same as in the tests, so that nothing is compiled twice.
CARGO_RUN = cargo run --quiet --locked --bin

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test test-endurance test-gitops test-installing unit fuzz check check-terraform format generate images bench bench-gate bench-operator demo-kubeconfig prerequisites

help: ## Explain each target
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  CLUSTER=kind|local|current  where demo runs (default: kind when Docker answers, else local)"
	@echo "  REGISTRY=host/path          registry to push images to; for images, and for demo with CLUSTER=current"

# The total that the demo prints includes the prerequisites and the compilation of the demo itself.
demo: export DEMO_STARTED := $(shell date +%s)
demo: prerequisites ## Start a cluster, install Behalf, sign in as three users, call the tools, keep it running
	@cargo run --locked --bin behalf-demo -- up

demo-down: prerequisites ## Remove every trace of the demo
	@$(CARGO_RUN) behalf-demo -- down

test: prerequisites-test ## Run every test, including the black-box suite on a real cluster
	@.ci/test

test-endurance: prerequisites-test ## Call for ten minutes from 50 sessions on a real cluster while every part is replaced
	@BEHALF_TEST_CLUSTER=1 BEHALF_TEST_ENDURANCE=600 cargo test --workspace --locked --test black_box -- endurance

test-gitops: prerequisites-test ## Keep an McpServer in Git with Flux and Argo CD, DRIFT (600) seconds without drift; scale one with metrics-server
	@controllers=$$(.ci/gitops controllers) && \
		BEHALF_GITOPS_CONTROLLERS=$$controllers BEHALF_TEST_DRIFT=$(or $(DRIFT),600) cargo test --workspace --locked --test gitops

test-installing: prerequisites-test ## Follow docs/installing.md from an empty cluster to the uninstall, print how long each step takes
	@BEHALF_TEST_CLUSTER=1 cargo test --workspace --locked --test installing

unit: prerequisites-unit ## Run the tests that need no cluster
	@.ci/nextest run --workspace --locked

fuzz: prerequisites-fuzz ## Fuzz every target for SECONDS_EACH (60) seconds
	@.ci/fuzz $(SECONDS_EACH)

check: prerequisites-check ## Check format, lints, dependencies, generated files
	@.ci/check

check-terraform: prerequisites-terraform ## Check examples/terraform-aks with OpenTofu and the schemas of its providers
	@.ci/terraform

format: ## Format the Rust code
	@cargo fmt --all

generate: prerequisites ## Regenerate the generated files (CRD, chart template, tables of the charts' values)
	@$(CARGO_RUN) behalf-operator -- crd > crds/behalf.dev_mcpservers.yaml
	@$(CARGO_RUN) behalf-operator -- crd --helm > charts/behalf-crds/templates/behalf.dev_mcpservers.yaml
	@BEHALF_GENERATE=1 cargo test --quiet --workspace --locked --test chart -- the_tables

images: prerequisites ## Build the images, push them to REGISTRY, print the helm command that installs them
	@$(CARGO_RUN) behalf-demo -- images

bench: prerequisites-bench ## Measure the sidecar beside nginx and FastMCP on a quiet machine, write docs/performance.md
	@cargo build --release --locked --bin behalf-auth-sidecar --bin behalf-bench
	@python=$$(.ci/fastmcp) && $(CARGO_TARGET_DIR)/release/behalf-bench run --fastmcp $$python --page docs/performance.md

# The profile of images, because `make test` has built it.
bench-gate: prerequisites-bench ## Compare the speed of the sidecar with nginx's in 30 s, fail if it became much slower
	@cargo build --profile image --locked --bin behalf-auth-sidecar --bin behalf-bench
	@$(CARGO_TARGET_DIR)/image/behalf-bench gate

bench-operator: prerequisites ## Measure the operator with 500 objects in about 15 minutes, write docs/performance-operator.md
	@cargo build --release --locked --bin behalf-operator --bin behalf-bench-operator
	@$(CARGO_TARGET_DIR)/release/behalf-bench-operator --page docs/performance-operator.md

demo-kubeconfig: prerequisites ## Print the path of the running demo's kubeconfig
	@$(CARGO_RUN) behalf-demo -- kubeconfig

prerequisites:
	@.ci/prerequisites

prerequisites-%:
	@.ci/prerequisites $*
