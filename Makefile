# Every target runs as root on Debian 12 with Go, git and make. What else it
# needs, it installs and says so.

GO ?= go
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# The version comes from VERSION, so that a tree without .git builds too.
export GOFLAGS := -buildvcs=false $(GOFLAGS)

.PHONY: all build demo test fuzz bench-l4 bench-l7 vm-smoke vm-test vagrant-validate generate check-generated lint fmt deps deps-test deps-bench deps-generate deps-vm deps-vagrant

all: build

build: ## bin/weir, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/weir ./cmd/weir

demo: build ## real traffic through a balancer, in namespaces of its own
	bin/weir demo
	bin/weir demo --l7

test: deps-test ## every test; those in namespaces share the two CPUs, so one package at a time
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) test -race -p 1 -timeout 15m ./...

# FUZZTIME is for each fuzz target, PACKETS for all worlds of the model together.
FUZZTIME ?= 20s
PACKETS ?= 2000000

fuzz: deps-test ## the packet path against its model, PACKETS=20000000 at length; then every fuzz target for FUZZTIME
	WEIR_PACKETS=$(PACKETS) $(GO) test -count=1 -v -timeout 2h -run '^TestModel$$' ./bpf
	@set -e; grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | while IFS=: read -r file func; do \
		echo "=== $${func#func } of $$(dirname "$$file"), $(FUZZTIME)"; \
		$(GO) test -count=1 -run '^$$' -fuzz "^$${func#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$(dirname "$$file")" </dev/null; \
	done

bench-l4: ## cost of the packet path, about 3 minutes; FORWARD=dsr,nat FAMILY=4 for less, JSON=1 for lines of JSON
	@JSON='$(JSON)' FORWARD='$(FORWARD)' FAMILY='$(FAMILY)' $(GO) run ./loader/dataplane/l4bench

bench-l7: deps-bench build ## CPU time of a request against nginx and HAProxy, about 6 minutes; CASES=proxy,cache SECONDS=2 for less, JSON=1 for lines of JSON
	@JSON='$(JSON)' CASES='$(CASES)' SECONDS='$(SECONDS)' ROUNDS='$(ROUNDS)' $(GO) run ./l7/l7bench

vm-smoke: deps-vm ## Debian's kernels 6.1 and 6.12 in virtual machines: verifier, native XDP, a demo; about two minutes
	WEIR_VM=smoke $(GO) test -count=1 -v -timeout 15m -run '^TestVM$$' ./vm-tests

vm-test: deps-vm ## all that runs in virtual machines, and whether a broken one is noticed; more than an hour without KVM
	WEIR_VM=all $(GO) test -count=1 -v -timeout 180m ./vm-tests

vagrant-validate: deps-vagrant ## checks the Vagrantfile; `vagrant up` starts its machines
	vagrant validate

generate: deps-generate ## the programs in bpf/ and their Go types
	.ci/clang-is-pinned
	$(GO) generate ./bpf/...

check-generated: generate ## fails if what is committed is not what the sources make
	@changes=$$(git status --porcelain -- 'bpf/*_bpfel.*') || exit 1; \
	if [ -n "$$changes" ]; then \
		echo "$$changes"; \
		echo "what bpf2go makes of bpf/ is not what is committed: run 'make generate' and commit the result"; exit 1; \
	fi

lint: ## formatting, vet and .golangci.yml
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "not formatted, run 'make fmt':"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(GOLANGCI) run --timeout 10m

fmt:
	gofmt -w .

deps: deps-test deps-bench deps-generate deps-vm deps-vagrant ## all that the other targets would install
	$(GO) mod download

deps-test: # the race detector is linked with C; remedies of weir doctor are typed; haproxy asks agents
	@.ci/need gcc libc6-dev ethtool iproute2 procps haproxy slowhttptest

deps-bench:
	@.ci/need nginx haproxy wrk nghttp2-client util-linux

deps-generate:
	@.ci/need clang-19 llvm-19 libbpf-dev linux-libc-dev

deps-vm: # kernels are unpacked from packages, not installed
	@.ci/need qemu-system-x86 seabios xz-utils

deps-vagrant:
	@.ci/need vagrant vagrant-libvirt
