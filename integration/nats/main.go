package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// commands are by first argument.
var commands = map[string]func(args []string) error{
	"serve": serve, "accept": accept, "fill": fill, "deliver": deliver, "probe": probe,
	"traffic": traffic,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: nats serve|accept|fill|deliver|probe|traffic ADDR ...")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "nats %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// answer prints what a client command measured.
func answer(v any) error {
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	return nil
}
