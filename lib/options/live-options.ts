// The options of a registration while it runs: whoever changes one is told at once if it is wrong, as when the plugin was registered.
import { checkOption, PLUGIN_NAMES } from './checks.ts'
import type { PluginSettings } from './settings.ts'

/**
 * @param onChange called after each change
 * @returns a copy of `settings` to change; undefined stands for what the registration said. What is no option of ours is kept as it is
 */
export function liveOptions (settings: PluginSettings, onChange: () => void): PluginSettings {
  const set = (target: PluginSettings, name: string | symbol, value: unknown): boolean => {
    const isOption = typeof name === 'string' && PLUGIN_NAMES.includes(name)
    if (isOption && value !== undefined) checkOption(name, value)
    Reflect.set(target, name, isOption && value === undefined ? Reflect.get(settings, name) : value)
    onChange()
    return true
  }
  return new Proxy({ ...settings }, { set, deleteProperty: (target, name) => set(target, name, undefined) })
}
