// verdict: what a run of the conformance suite is worth. Prints numbers per profile and what did not pass.
//
// The report alone does not tell: the suite writes it before its parallel tests have run, so a parallel test counts there
// as passed whatever it does. The log tells, and both must agree.
//
// With --whole, exits non-zero unless every test of every profile passed with every feature there is: nothing failed,
// nothing skipped, no feature left out of GatewayClass and XMesh.
package main

import (
	"flag"
	"fmt"
	"os"

	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	logFile := flag.String("log", "", "output of the suite, go test -v")
	reportFile := flag.String("report", "", "report of the same run")
	keptFile := flag.String("kept", "", "report that is kept; must say the same as --report, but for its date")
	whole := flag.Bool("whole", false, "ask for everything")
	one := flag.Bool("one", false, "one test was asked for: skipped ones are not named")
	flag.Parse()
	log, err := os.ReadFile(*logFile)
	exitOn(err)
	r := readRun(string(log))
	report, err := readReport(*reportFile)
	exitOn(err)
	printRun(r, report, !*one)
	if !*whole {
		return
	}
	problems := append(r.problems(), reportProblems(report, r)...)
	if *keptFile != "" {
		kept, err := readReport(*keptFile)
		exitOn(err)
		problems = append(problems, staleness(*keptFile, kept, report)...)
	}
	for _, p := range problems {
		fmt.Println("ERROR:", p)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
	fmt.Println("everything there is to pass is passed")
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "verdict:", err)
		os.Exit(1)
	}
}

// readReport returns an empty report for no file.
func readReport(file string) (*confv1.ConformanceReport, error) {
	report := &confv1.ConformanceReport{}
	if file == "" {
		return report, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalStrict(text, report); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return report, nil
}

// printRun: names of what did not pass, the slowest tests, and numbers.
func printRun(r *run, report *confv1.ConformanceReport, skipped bool) {
	for _, name := range r.named(failed) {
		fmt.Println("failed  ", name)
	}
	if skipped {
		for _, name := range r.named(left) {
			fmt.Printf("skipped  %s: %s\n", name, r.reasons[name])
		}
	}
	for _, s := range r.slowest(5) {
		fmt.Printf("slow     %6.1f s  %s\n", r.seconds[s], s)
	}
	for _, p := range sorted(report) {
		core, extended := p.Core.Statistics, confv1.Statistics{}
		features := 0
		if p.Extended != nil {
			extended, features = p.Extended.Statistics, len(p.Extended.SupportedFeatures)
		}
		fmt.Printf("%-13s core %d passed, %d failed, %d skipped; extended %d passed, %d failed, %d skipped; %d features\n", p.Name,
			core.Passed, core.Failed, core.Skipped, extended.Passed, extended.Failed, extended.Skipped, features)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", len(r.named(passed)), len(r.named(failed)), len(r.named(left)))
}
