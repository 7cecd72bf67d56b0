package main

import (
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// Of lines with the same text in one second the first logSampleFirst are printed, then every
// logSampleEvery-th: a client that repeats a refused request must not fill the disk.
const (
	logSampleFirst = 100
	logSampleEvery = 100
)

// newLogger builds the server's logger. It writes to standard error, so that standard output keeps
// the few lines of the banner.
func newLogger(level, format string) (*zap.Logger, error) {
	lowest, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, err
	}
	config := zap.NewProductionConfig()
	config.Level = zap.NewAtomicLevelAt(lowest)
	config.Sampling = &zap.SamplingConfig{Initial: logSampleFirst, Thereafter: logSampleEvery}
	config.DisableCaller = true
	config.DisableStacktrace = true
	config.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	config.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	if format == "console" || format == "auto" && isTerminal(os.Stderr) {
		config.Encoding = "console"
		config.EncoderConfig.EncodeLevel = zapcore.CapitalLevelEncoder
	}
	return config.Build()
}

// isTerminal tells a person's screen from a file or a pipe.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
