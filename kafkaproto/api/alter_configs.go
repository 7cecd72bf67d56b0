package api

import (
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// AlterConfigs (key 33): replace all configs of topics.
//
// Behavior:
//   - What a topic sets is replaced by what the request says; all other configs return to their
//     defaults. The change is durable when the answer says so, and in force from the next append or
//     check on.
//   - All changes of a resource are made, or none. A resource that stands twice in a request, or a
//     config that stands twice in a resource, gets INVALID_REQUEST.
//   - The configs of this broker are read-only: INVALID_REQUEST, as in Kafka for those that are.
//   - validate_only says what would happen and changes nothing.
//
// Version notes:
//   - v2: flexible
func (s *Service) alterConfigs(c *call, r *kmsg.AlterConfigsRequest) (Reply, error) {
	return topicChange{func(*Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrAlterConfigsResponse()
		out.Version = c.Version
		wanted := make([]alteration, len(r.Resources))
		for i := range r.Resources {
			from := &r.Resources[i]
			wanted[i] = alteration{
				at:      askedResource{from.ResourceType, from.ResourceName},
				replace: true, validateOnly: r.ValidateOnly,
			}
			for j := range from.Configs {
				f := &from.Configs[j]
				wanted[i].ops = append(wanted[i].ops, configOp{name: f.Name, value: f.Value})
			}
		}
		for i, err := range s.alterAll(wanted) {
			to := kmsg.NewAlterConfigsResponseResource()
			to.ResourceType, to.ResourceName = wanted[i].at.kind, wanted[i].at.name
			to.ErrorCode, to.ErrorMessage = codeOf(err), textOf(err)
			out.Resources = append(out.Resources, to)
		}
		return out, nil
	}}, nil
}

// alteration is what a request wants of one resource.
type alteration struct {
	at           askedResource
	ops          []configOp
	replace      bool // what is not named returns to its default
	validateOnly bool
}

// configOp is one change; the zero op sets.
type configOp struct {
	name  string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

// alterAll makes the alterations, and returns why one was refused. A resource that stands twice is
// not changed at all.
func (s *Service) alterAll(wanted []alteration) []error {
	times := map[askedResource]int{}
	for i := range wanted {
		times[wanted[i].at]++
	}
	errs := make([]error, len(wanted))
	for i, a := range wanted {
		if times[a.at] > 1 {
			errs[i] = refusef(kerr.InvalidRequest, "Each resource must appear at most once.")
			continue
		}
		errs[i] = s.alterResource(a)
	}
	return errs
}

// alterResource makes all changes of one resource, or none.
func (s *Service) alterResource(a alteration) error {
	if err := checkOps(a.ops); err != nil {
		return err
	}
	switch a.at.kind {
	case kmsg.ConfigResourceTypeTopic:
		if a.at.name == "" { // kafka.server.ControllerConfigurationValidator
			return refusef(kerr.InvalidRequest, "Default topic resources are not allowed.")
		}
		if err := metadata.ValidTopicName(a.at.name); err != nil {
			return err
		}
		topic, err := findTopic(s.o.Replicas.Image(), false, a.at.name, [16]byte{})
		if err != nil {
			return err
		}
		return s.o.Replicas.ChangeConfigs(topic.ID, a.change(), a.validateOnly)
	case kmsg.ConfigResourceTypeBroker:
		return s.alterBroker(a.at.name, a.ops)
	default:
		return refusef(kerr.InvalidRequest,
			"configs of %v resources are not supported by this version", a.at.kind)
	}
}

// checkOps judges what concerns every resource (kafka.server.ConfigAdminManager).
func checkOps(ops []configOp) error {
	seen := map[string]bool{}
	var null []string
	for _, op := range ops {
		if seen[op.name] {
			return refusef(kerr.InvalidRequest, "Error due to duplicate config keys")
		}
		seen[op.name] = true
		if op.value == nil && op.op != kmsg.IncrementalAlterConfigOpDelete {
			null = append(null, op.name)
		}
		if op.op < kmsg.IncrementalAlterConfigOpSet || op.op > kmsg.IncrementalAlterConfigOpSubtract {
			return refusef(kerr.InvalidRequest, "Unknown operations type %d", op.op)
		}
	}
	if len(null) > 0 {
		return refusef(kerr.InvalidRequest,
			"Null value not supported for : %s", strings.Join(null, ", "))
	}
	return nil
}

// alterBroker refuses what is asked of this broker, and of all by the empty name: its configs are
// flags of its command line.
func (s *Service) alterBroker(name string, ops []configOp) error {
	if own := strconv.Itoa(int(s.o.Replicas.NodeID())); name != "" && name != own {
		return refusef(kerr.InvalidRequest,
			"Unexpected broker id, expected %s, but received %s", own, name)
	}
	if len(ops) == 0 {
		return nil
	}
	names := make([]string, len(ops))
	for i := range ops {
		names[i] = ops[i].name
	}
	return refusef(kerr.InvalidRequest,
		"Cannot update these configs dynamically: %s. They are flags of "+
			"chronos serve", strings.Join(names, ", "))
}

// change is what an alteration makes of the configs that a topic sets.
func (a alteration) change() replication.ConfigChange {
	return func(now map[string]string) (map[string]*string, error) {
		set := map[string]*string{}
		if a.replace {
			for name := range now {
				set[name] = nil
			}
		}
		for _, op := range a.ops {
			value, err := op.apply(now)
			if err != nil {
				return nil, err
			}
			set[op.name] = value
		}
		return set, nil
	}
}
