package api

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/replication/metadata"
)

// IncrementalAlterConfigs (key 44): change single configs of topics.
//
// Behavior:
//   - SET and DELETE are for all configs, APPEND and SUBTRACT for lists; they begin with the
//     default where the topic sets nothing. Items that are there already are not appended again,
//     and those that are not there are not missed.
//   - All else is as in AlterConfigs.
//
// Version notes:
//   - v1: flexible
func (s *Service) incrementalAlterConfigs(
	c *call, r *kmsg.IncrementalAlterConfigsRequest,
) (Reply, error) {
	return topicChange{func(*Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrIncrementalAlterConfigsResponse()
		out.Version = c.Version
		wanted := make([]alteration, len(r.Resources))
		for i := range r.Resources {
			from := &r.Resources[i]
			wanted[i] = alteration{
				at:           askedResource{from.ResourceType, from.ResourceName},
				validateOnly: r.ValidateOnly,
			}
			for j := range from.Configs {
				f := &from.Configs[j]
				wanted[i].ops = append(wanted[i].ops, configOp{name: f.Name, op: f.Op, value: f.Value})
			}
		}
		for i, err := range s.alterAll(wanted) {
			to := kmsg.NewIncrementalAlterConfigsResponseResource()
			to.ResourceType, to.ResourceName = wanted[i].at.kind, wanted[i].at.name
			to.ErrorCode, to.ErrorMessage = codeOf(err), textOf(err)
			out.Resources = append(out.Resources, to)
		}
		return out, nil
	}}, nil
}

// apply returns the value that a config gets; nil is its default.
func (o configOp) apply(now map[string]string) (*string, error) {
	switch o.op {
	case kmsg.IncrementalAlterConfigOpDelete:
		return nil, nil //nolint:nilnil // Nothing set is what was asked for.
	case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
		return o.changeList(now)
	default:
		return o.value, nil
	}
}

// changeList appends to a list or subtracts from it (ConfigurationControlManager).
func (o configOp) changeList(now map[string]string) (*string, error) {
	def, ok := metadata.LookupConfig(o.name)
	if !ok || def.Type != metadata.ConfigList {
		return nil, refusef(kerr.InvalidConfig,
			"Can't %v to key %s because its type is not LIST.", o.op, o.name)
	}
	old, ok := now[o.name]
	if !ok {
		old = def.Default
	}
	items := listItems(old)
	for _, item := range listItems(*o.value) {
		has := slices.Contains(items, item)
		switch {
		case o.op == kmsg.IncrementalAlterConfigOpAppend && !has:
			items = append(items, item)
		case o.op == kmsg.IncrementalAlterConfigOpSubtract && has:
			items = slices.DeleteFunc(items, func(s string) bool { return s == item })
		}
	}
	value := strings.Join(items, ",")
	return &value, nil
}

func listItems(text string) (items []string) {
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}
