// Options that may be changed after registration: setting an invalid value throws at once.
import { checkOption, PLUGIN_NAMES } from './checks.ts'
import type { PluginSettings } from './settings.ts'

/**
 * @param onChange called after each change
 * @returns a copy of `settings` that may be changed; setting undefined restores the value of the registration. Unknown names are kept unchecked
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
