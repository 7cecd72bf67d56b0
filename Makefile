# Each target is one line of work; `make` alone lists them. ARGS adds arguments, as in
# `make run ARGS='--data-dir /tmp/c'`.
.DEFAULT_GOAL := help
.PHONY: help run build test race lint fuzz bench start mutants soak compact

help: ; @sed -n 's/^\([a-z]*\): *[a-z]* ## /  make \1	/p' Makefile

build: ## build the server as bin/chronos
	CGO_ENABLED=0 go build -o bin/chronos ./cmd/chronos

run: build ## build and start the server on 127.0.0.1:9092
	exec ./bin/chronos serve $(ARGS)

test: ## run the tests of all modules
	for module in . integration/clients integration/nats; do \
		(cd $$module && go test -count=1 -timeout 10m $(ARGS) ./...) || exit 1; done

race: ## run the tests under the race detector
	go test -race -count=1 -timeout 30m $(ARGS) ./...

lint: ## check formatting and house rules
	.ci/lint

fuzz: ## run each fuzz target for FUZZTIME (default 10s)
	.ci/fuzz

bench: ## measure speed and memory, and print a table
	go run ./integration/bench $(ARGS)

start: ## time starts over 20 GB of log in 200 partitions; needs 25 GB of disk
	go test ./integration -count=1 -timeout 30m -v -run TestStartServes -start.mib 20480 $(ARGS)

compact: ## compact 2 GB of log with a bound on the heap; needs 5 GB of disk
	go test ./log -count=1 -timeout 30m -v -run TestCompactionOfALargeLog -compact.large 2048 $(ARGS)

mutants: ## break the server in known ways; for each, a named test must fail
	go run ./integration/mutants $(ARGS)

soak: ## run the server under mixed load for ten minutes; nothing may grow or be lost
	go run ./integration/soak $(ARGS)
